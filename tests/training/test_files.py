"""A directory in an object store: whole, or an error."""

from pathlib import Path

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


def test_a_copy_that_fails_is_an_error(object_store: str, tmp_path: Path) -> None:
    """With pyarrow's ``copy_files`` this one passed, and a model could have been published without a file."""
    (tmp_path / "x").write_bytes(b"x" * (11 << 20))
    store = Store("s3://no-such-bucket/models")
    with pytest.raises(OSError, match="bucket"):
        copy_directory(tmp_path, *store.locate("here"))
