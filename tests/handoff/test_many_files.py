"""A raw artifact of 100,000 files: one manifest still holds them, and opening finds the one that is gone."""

import hashlib
from pathlib import Path

import pytest

from handoff.artifact import open_artifact
from handoff.errors import ArtifactError
from handoff.manifest import FileEntry
from handoff.publish import staging
from handoff.store import Store

pytestmark = pytest.mark.faults  # half a minute
FILES = 100_000
BYTES_A_FILE = 400  # of the manifest at most; 163 for short paths


def test_a_manifest_of_many_files(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    paths = [raw / f"{number:06d}.txt" for number in range(FILES)]
    for path in paths:
        path.touch()
    empty = hashlib.sha256(b"").hexdigest()
    store = Store(str(tmp_path / "store"))
    with staging(store, "raw", {"files": FILES}, []) as place:
        made = place.publish(in_place=[FileEntry(path=str(path), bytes=0, sha256=empty) for path in paths])
    assert len(open_artifact(store, made.id).manifest.files) == FILES
    (manifest,) = (tmp_path / "store").rglob("_MANIFEST.json")
    assert manifest.stat().st_size < FILES * BYTES_A_FILE
    paths[77_777].unlink()
    with pytest.raises(ArtifactError) as caught:
        open_artifact(store, made.id)
    assert caught.value.problems == [f"file {paths[77_777]} is missing"]
