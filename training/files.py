"""Moving whole directories into a staging place, and checkpoints to an object store."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.fs as pafs

from handoff.causes import cause_of
from handoff.errors import EngineUnavailable
from handoff.publish import Staging
from handoff.store import CHUNK_BYTES

if TYPE_CHECKING:
    from ray.train import Checkpoint


def put_directory(source: Path, place: Staging) -> None:
    """Put the files below a local directory into a staging place: linked where both lie on one disk, else copied.

    Raises:
        OSError: a file cannot be written.
    """
    if place.store.is_local:
        target = place.uri()
        shutil.copytree(source, target, copy_function=_link_or_copy, dirs_exist_ok=True)
        shutil.copymode(os.path.dirname(target), target)  # a temporary directory's mode lets its owner read alone
        return
    copy_directory(source, *place.store.locate(place.path))


def copy_directory(source: Path, filesystem: pafs.FileSystem, target: str) -> None:
    """Copy the files below a local directory, one after the other.

    Raises:
        OSError: a file cannot be written. pyarrow's ``copy_files`` returns without an error when an upload to S3 fails.
    """
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        destination = f"{target}/{file.relative_to(source).as_posix()}"
        filesystem.create_dir(os.path.dirname(destination), recursive=True)
        with file.open("rb") as data, filesystem.open_output_stream(destination, compression=None) as stream:
            shutil.copyfileobj(data, stream, CHUNK_BYTES)


def checkpoint_upload() -> "Callable[[Checkpoint, str], Checkpoint] | None":
    """How Ray Train uploads a checkpoint; None for its own way, which suits a local disk. Called in a worker."""
    import ray.train

    storage = ray.train.get_context().get_storage()  # type: ignore[no-untyped-call]
    filesystem = storage.storage_filesystem
    if isinstance(filesystem, pafs.LocalFileSystem):
        return None

    def upload(checkpoint: "Checkpoint", name: str) -> "Checkpoint":
        target = storage.build_checkpoint_path_from_name(name)
        try:
            copy_directory(Path(checkpoint.path), filesystem, target)
        except OSError as error:
            if (cause := cause_of(error)).store_is_gone:  # Ray would upload again, twice, by pyarrow's words
                raise EngineUnavailable(cause.sentence.replace("AWS Error", "S3:")) from None
            raise
        return ray.train.Checkpoint(path=target, filesystem=filesystem)

    return upload


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
