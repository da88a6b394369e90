"""Moving whole directories into a staging place."""

import os
import shutil
from pathlib import Path

import pyarrow.fs as pafs

from handoff.publish import Staging


def put_directory(source: Path, place: Staging) -> None:
    """Put the files below a local directory into a staging place: linked where both lie on one disk, else copied."""
    if place.store.is_local:
        target = place.uri()
        shutil.copytree(source, target, copy_function=_link_or_copy, dirs_exist_ok=True)
        shutil.copymode(os.path.dirname(target), target)  # a temporary directory's mode lets its owner read alone
        return
    filesystem, target = place.store.locate(place.path)
    pafs.copy_files(
        str(source), target, source_filesystem=pafs.LocalFileSystem(), destination_filesystem=filesystem,
        use_threads=False,  # threads that upload to S3 can wait for each other for ever (apache/arrow issue 32372)
    )  # fmt: skip


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
