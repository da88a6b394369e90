"""Blocks from the snapshot through real Ray Data: complete, equal for all ranks, and the same after a resume."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from handoff.artifact import Artifact
from training.base_model import publish_base_model
from training.config import BaseModelConfig
from training.ingest import BlockFeeder, Cursor, Passages, Share, count_blocks
from training.tokenizer import PassageTokenizer

SEQ_LEN, WORLD_SIZE, PER_RANK, EPOCHS = 48, 2, 2, 2


@pytest.fixture
def passages(tiny_corpus: Artifact, tiny_model: Path) -> Passages:
    base = publish_base_model(BaseModelConfig(source=str(tiny_model)), tiny_corpus.store, Path("unused"))
    return Passages.of_corpus(tiny_corpus, "train", PassageTokenizer.of_model(base), 1.0, 2)


def steps(passages: Passages, count: int, first: int = 0, start: Cursor = Cursor()) -> list[list[Share]]:  # noqa: B008, RUF100
    feeder = BlockFeeder(passages, SEQ_LEN, EPOCHS, WORLD_SIZE, PER_RANK, start)
    return [[feeder.share(step, rank) for rank in range(WORLD_SIZE)] for step in range(first, count)]


def test_feeder(ray_cluster: None, passages: Passages) -> None:
    """One Ray Data run per epoch takes seconds, so all that the feeder promises is looked at here."""
    per_epoch = count_blocks(passages, SEQ_LEN, None)
    assert count_blocks(passages, SEQ_LEN, 3) == 3, "counting stops early"
    total_steps = -(-per_epoch * EPOCHS // (WORLD_SIZE * PER_RANK))
    dealt = steps(passages, total_steps)

    # Every passage of both epochs, in the manifest's order, and nothing else.
    tokens = [ids for step in dealt for s in step for b, n in zip(s.ids, s.tokens, strict=True) for ids in b[:n]]
    expected = np.concatenate(list(passages.stream_here()))
    assert np.array_equal(tokens, np.concatenate([expected, expected]))

    # Every rank has blocks of the same shape in each step; only the last one is filled up.
    assert all(s.ids.shape == (PER_RANK, SEQ_LEN) for step in dealt for s in step)
    assert sum(step[0].step_blocks for step in dealt) == per_epoch * EPOCHS
    assert all(step[0].step_blocks == WORLD_SIZE * PER_RANK for step in dealt[:-1])
    assert all(step[0].step_tokens == sum(s.tokens.sum() for s in step) for step in dealt)

    # From the cursor of any step on, the rest is the same: within the first epoch, and in the second.
    for done in (3, total_steps - 2):
        rest = steps(passages, total_steps, done, dealt[done - 1][0].cursor)
        for before, after in zip(dealt[done:], rest, strict=True):
            for one, other in zip(before, after, strict=True):
                assert np.array_equal(one.ids, other.ids) and np.array_equal(one.tokens, other.tokens)
                assert one.cursor == other.cursor


def test_a_resume_opens_no_file_that_is_done(ray_cluster: None, passages: Passages) -> None:
    first, second = passages.rows
    whole = list(passages.stream_here())
    gone = dataclasses.replace(passages, paths=("/nowhere/part.parquet", passages.paths[1]))
    rest = list(gone.stream(first + 5))
    assert len(rest) == second - 5
    assert all(np.array_equal(a, b) for a, b in zip(rest, whole[first + 5 :], strict=True))


def test_rows_that_the_manifest_does_not_know_stop_the_stream(ray_cluster: None, passages: Passages) -> None:
    wrong = dataclasses.replace(passages, rows=(passages.rows[0], passages.rows[1] + 1))
    with pytest.raises(RuntimeError, match="the manifest says 65"):
        list(wrong.stream())
