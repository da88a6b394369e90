"""Checkpoints hold pickles: nothing of one is loaded before its digests agree."""

import hashlib
import json
import pickle
from pathlib import Path

import pytest

from handoff.errors import ArtifactError
from training.checkpoint import verify


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A rank's files as save() leaves them."""
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "shard.pt").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    (tmp_path / "digests-rank0.json").write_text(json.dumps({"engine/shard.pt": digest}))
    return tmp_path


def test_unchanged_files_are_accepted(directory: Path) -> None:
    verify(directory, 0)


def test_one_changed_byte_is_named(directory: Path) -> None:
    (directory / "engine" / "shard.pt").write_bytes(b"Weights")
    with pytest.raises(ArtifactError, match=r"shard\.pt was changed"):
        verify(directory, 0)


def test_a_missing_shard_is_named(directory: Path) -> None:
    (directory / "engine" / "shard.pt").unlink()
    with pytest.raises(ArtifactError, match=r"shard\.pt is missing"):
        verify(directory, 0)


def test_a_rank_without_digests_loads_nothing(directory: Path) -> None:
    with pytest.raises(ArtifactError, match=r"digests-rank1\.json is missing"):
        verify(directory, 1)


def test_the_error_survives_the_way_from_a_worker(directory: Path) -> None:
    with pytest.raises(ArtifactError) as error:
        verify(directory, 1)
    sent = pickle.loads(pickle.dumps(error.value))
    assert str(sent) == str(error.value) and sent.problems == error.value.problems
