"""Checkpoints hold pickles: nothing of one is loaded before its digests agree."""

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import pytest

from handoff.errors import ArtifactError
from training.checkpoints.checkpoint import (
    TrainingProgress,
    _random_state,
    _set_random_state,
    previous_ranks,
    problems_of,
    progress_of,
    save,
    verify,
)
from training.data.ingest import Cursor


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A rank's files as save() leaves them."""
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "shard.pt").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    (tmp_path / "digests-rank0.json").write_text(json.dumps({"engine/shard.pt": digest}))
    return tmp_path


def test_unchanged_files_are_accepted(directory: Path) -> None:
    assert problems_of(directory, 0) == []
    verify(directory, 1)


def test_one_changed_byte_is_named(directory: Path) -> None:
    (directory / "engine" / "shard.pt").write_bytes(b"Weights")
    with pytest.raises(ArtifactError, match=r"shard\.pt was changed"):
        verify(directory, 1)


def test_a_truncated_shard_is_named(directory: Path) -> None:
    (directory / "engine" / "shard.pt").write_bytes(b"weig")
    assert "shard.pt was changed" in problems_of(directory, 0)[0]


def test_a_missing_shard_is_named(directory: Path) -> None:
    (directory / "engine" / "shard.pt").unlink()
    assert problems_of(directory, 0) == ["file engine/shard.pt is missing"]


def test_a_rank_without_whole_digests_loads_nothing(directory: Path) -> None:
    assert problems_of(directory, 1) == ["digests-rank1.json is missing"]
    (directory / "digests-rank1.json").write_text('{"engine/sha')
    assert problems_of(directory, 1) == ["digests-rank1.json was changed: it is no JSON"]


class Engine:
    """Writes as little as DeepSpeed's engine could."""

    def save_checkpoint(self, directory: str, tag: str, **_: object) -> None:
        Path(directory, tag).mkdir()
        Path(directory, tag, "shard.pt").write_bytes(b"weights")


def test_what_is_saved_is_found_again(tmp_path: Path) -> None:
    progress = TrainingProgress(2, Cursor(4, 1, 1, 7, 3), 1, ({"step": 1}, {"step": 2}), (("0-0", "0-1"), ("0-2",)))
    save(tmp_path, Engine(), 0, 1, progress, adapters_only=False)
    assert problems_of(tmp_path, 0) == []
    assert progress_of(tmp_path, 0, 1) == progress


@pytest.mark.parametrize(
    ("world_size", "histories"),
    [
        (1, [(("a0", "b0", "c0"), ("a1", "b1", "c1"))]),
        (2, [(("a0", "c0"), ("a1", "c1")), (("b0",), ("b1",))]),
        (4, [(("a0",), ("a1",)), (("b0",), ("b1",)), (("c0",), ("c1",)), ((), ())]),
    ],
)
def test_a_group_of_another_size_takes_over_every_file_and_all_history(
    tmp_path: Path, world_size: int, histories: list[tuple[tuple[str, ...], ...]]
) -> None:
    for rank, name in enumerate("abc"):
        audit = ((f"{name}0",), (f"{name}1",))
        at = tmp_path / str(rank)
        at.mkdir()
        save(at, Engine(), rank, 3, TrainingProgress(2, Cursor(6), 0, ({}, {}), audit), adapters_only=False)
        shutil.copytree(at, tmp_path / "all", dirs_exist_ok=True)  # as Ray Train puts them together
    directory = tmp_path / "all"
    answered_for = [rank for new in range(world_size) for rank in previous_ranks(directory, new, world_size)]
    assert sorted(answered_for) == [0, 1, 2]
    found = [progress_of(directory, rank, world_size) for rank in range(world_size)]
    assert [p.audit for p in found] == histories
    assert {(p.step, p.cursor) for p in found} == {(2, Cursor(6))}


def test_the_error_survives_the_way_from_a_worker(directory: Path) -> None:
    with pytest.raises(ArtifactError) as error:
        verify(directory, 2)
    sent = pickle.loads(pickle.dumps(error.value))
    assert str(sent) == str(error.value) and sent.problems == error.value.problems


def test_a_checkpoint_from_gpus_is_taken_where_there_are_none() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there are GPUs")
    states = _random_state()
    expected = torch.rand(3)
    _set_random_state({**states, "cuda": states["cpu"]})
    assert torch.rand(3).equal(expected)
