"""A directory in an object store: whole, or an error."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pytest

from handoff.store import Store
from training.files import copy_directory


def test_all_files_are_copied(object_store: str, tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x").write_bytes(b"x" * (11 << 20))
    (tmp_path / "empty").write_bytes(b"")
    store = Store(f"{object_store}/copied")
    copy_directory(tmp_path, *store.locate("here"))
    assert {path: store.size(path) for path in store.files("here")} == {"here/a/b/x": 11 << 20, "here/empty": 0}


def test_a_copy_that_fails_is_an_error(object_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pyarrow's ``copy_files`` passes over what fails after a file is opened: a model would lack a file."""
    (tmp_path / "x").write_bytes(b"x" * (11 << 20))
    server, _ = pafs.FileSystem.from_uri("s3://doomed?allow_bucket_creation=true&allow_bucket_deletion=true")
    server.create_dir("doomed")
    copy = shutil.copyfileobj

    def interrupted(*arguments: Any) -> None:
        server.delete_dir("doomed")
        copy(*arguments)

    monkeypatch.setattr(shutil, "copyfileobj", interrupted)
    with pytest.raises(OSError, match="NO_SUCH_BUCKET"):
        copy_directory(tmp_path, *Store("s3://doomed/models").locate("here"))
