"""Where a training's checkpoints go: to a directory that all workers see, or to Ray Train."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol


class Keeper(Protocol):
    """Keeps checkpoints, each of which all ranks write together."""

    def newest(self) -> contextlib.AbstractContextManager[Path | None]:
        """Directory of the last whole checkpoint; None where there is none."""

    def keep(self, step: int, write: Callable[[Path], None]) -> None:
        """Have this rank write its part of a checkpoint into a directory; every rank calls it."""


class SharedDirectory:
    """Checkpoints in a directory that all workers see; one counts once all of them have written it."""

    def __init__(self, root: str) -> None:
        self._root = Path(root)

    @contextlib.contextmanager
    def newest(self) -> Iterator[Path | None]:
        yield max((mark.parent for mark in self._root.glob("*/_WHOLE")), default=None)

    def keep(self, step: int, write: Callable[[Path], None]) -> None:
        import torch.distributed

        place = self._root / f"{step:06d}"
        place.mkdir(parents=True, exist_ok=True)
        write(place)
        torch.distributed.barrier()
        if torch.distributed.get_rank() == 0:
            (place / "_WHOLE").touch()


class RayTrain:
    """Checkpoints that Ray Train stores, and hands to the workers after a restart."""

    @contextlib.contextmanager
    def newest(self) -> Iterator[Path | None]:
        import ray.train

        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            yield None
            return
        with checkpoint.as_directory() as directory:
            yield Path(directory)

    def keep(self, step: int, write: Callable[[Path], None]) -> None:
        import ray.train

        with tempfile.TemporaryDirectory() as scratch:
            write(Path(scratch))
            ray.train.report({"step": step}, checkpoint=ray.train.Checkpoint.from_directory(scratch))
