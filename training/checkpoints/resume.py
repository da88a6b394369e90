"""Find the checkpoint to resume from, which is the newest that every rank finds undamaged, or the best one."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from handoff.errors import ArtifactError
from training.checkpoints import checkpoint

VALIDATION_LOSS = "validation_loss"  # metric of a checkpoint; the best checkpoints are kept by it


@contextlib.contextmanager
def last_whole_checkpoint() -> Iterator[tuple[Path | None, list[str]]]:
    """Find where to resume; every rank calls it, and all of them get the same one.

    Ray Train lists a checkpoint once every rank's files are in the store, so one that was interrupted is never listed.
    Of those listed each rank compares its own files with the digests noted when they were written; where any rank finds
    one damaged, all take the one before. Training from there gives the same model, only later.

    Yields:
        A local directory (None: nothing was saved, begin at the beginning), and what was wrong with newer ones.

    Raises:
        ArtifactError: there are checkpoints, and all are damaged.
    """
    import ray.train

    damaged = list[str]()
    kept = sorted(ray.train.get_all_reported_checkpoints(), key=lambda reported: reported.metrics["step"])
    for reported in reversed(kept):
        with reported.checkpoint.as_directory() as directory:
            problems = _of_all_ranks(_problems(Path(directory)))
            if not problems:
                yield Path(directory), damaged
                return
            damaged.append(f"checkpoint of step {reported.metrics['step']}: {'; '.join(problems)}")
    if damaged:
        where = str(Path(kept[-1].checkpoint.path).parent)
        raise ArtifactError(f"checkpoints in {where}", damaged, "remove that directory to train from the start")
    yield None, damaged


@contextlib.contextmanager
def whole_checkpoint(step: int) -> Iterator[Path]:
    """The checkpoint of one step, on this machine; every rank calls it.

    Raises:
        ArtifactError: it is damaged, or not there any more.
    """
    import ray.train

    kept = [r.checkpoint for r in ray.train.get_all_reported_checkpoints() if r.metrics["step"] == step]
    remedy = 'set training.keep to "last", or remove the checkpoints to train from the start'
    if not kept:
        raise ArtifactError(f"checkpoint of step {step}", ["it is missing"], remedy)
    with kept[-1].as_directory() as directory:
        if problems := _of_all_ranks(_problems(Path(directory))):
            raise ArtifactError(f"checkpoint of step {step}", problems, remedy)
        yield Path(directory)


def _problems(directory: Path) -> list[str]:
    """Problems of the files that this rank checks: its own, and those of previous ranks that it takes over."""
    import ray.train

    context = ray.train.get_context()
    mine = checkpoint.previous_ranks(directory, context.get_world_rank(), context.get_world_size())
    return [problem for rank in mine for problem in checkpoint.problems_of(directory, rank)]


def _of_all_ranks(problems: list[str]) -> list[str]:
    import ray.train.torch
    import torch.distributed

    device = ray.train.torch.get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)  # where NCCL gathers objects
    found: list[list[str]] = [[] for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(found, problems)
    return [problem for of_rank in found for problem in of_rank]
