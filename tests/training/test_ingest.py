"""Blocks from the snapshot through real Ray Data: complete, equal for all ranks, and the same after a resume."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from handoff.artifact import Artifact, open_artifact
from handoff.tokenizer import ModelTokenizer
from tests.support import VERSES, publish_pairs
from training.base.artifact import publish_base_model
from training.config import BaseModelConfig
from training.data.ingest import BlockFeeder, Cursor, Deal, Passages, Share, count_blocks
from training.data.packing import IGNORED, WINDOW

SEQ_LEN, WORLD_SIZE, PER_RANK, EPOCHS = 48, 2, 2, 2


@pytest.fixture
def passages(tiny_corpus: Artifact, tiny_model: Path) -> Passages:
    base = publish_base_model(BaseModelConfig(source=str(tiny_model)), tiny_corpus.store, Path("unused"))
    return Passages.of_corpus(tiny_corpus, "train", ModelTokenizer.of_model(base), 1.0, 2)


def steps(
    passages: Passages,
    last: int,
    first: int = 0,
    start: Cursor = Cursor(),  # noqa: B008, RUF100
    world_size: int = WORLD_SIZE,
    per_rank: int = PER_RANK,
    per_step: int | None = None,
) -> list[list[Share]]:
    """What every rank is dealt in steps ``first`` to ``last`` - 1."""
    feeder = BlockFeeder(
        passages, Deal(SEQ_LEN, EPOCHS, world_size, per_step or world_size * per_rank, per_rank), first, start
    )
    return [[feeder.share(step, rank) for rank in range(world_size)] for step in range(first, last)]


def consumed(dealt: list[list[Share]]) -> list[str]:
    return [block for step in dealt for share in step for block in share.blocks]


def test_feeder(ray_cluster: None, passages: Passages) -> None:
    """One Ray Data run per epoch takes seconds, so all that the feeder promises is looked at here."""
    per_epoch = count_blocks(passages, SEQ_LEN, None).blocks
    assert count_blocks(passages, SEQ_LEN, 3).blocks == 3, "counting stops early"
    total_steps = -(-per_epoch * EPOCHS // (WORLD_SIZE * PER_RANK))
    dealt = steps(passages, total_steps)
    every_block = [f"{epoch}-{index}" for epoch in range(EPOCHS) for index in range(per_epoch)]
    assert consumed(dealt) == every_block, "each block once per epoch, in order"

    # Every passage of both epochs, in the manifest's order, and nothing else.
    learnt = [t for step in dealt for s in step for t in s.rows.labels[s.rows.labels != IGNORED]]
    texts = [p.ids for p in passages.stream_here()]
    cut = [set(np.cumsum([0, *map(len, texts)]).tolist()) | set(range(0, sum(map(len, texts)), SEQ_LEN))] * EPOCHS
    expected = [t for starts in cut for n, t in enumerate(np.concatenate(texts)) if n not in starts]
    assert np.array_equal(learnt, expected), "all but the first token of each piece"

    # Every rank has blocks of the same shape in each step; only the last one is filled up.
    assert all(s.rows.ids.shape == (PER_RANK, SEQ_LEN) for step in dealt for s in step)
    assert sum(len(step[0].step_blocks) for step in dealt) == per_epoch * EPOCHS
    assert all(len(step[0].step_blocks) == WORLD_SIZE * PER_RANK for step in dealt[:-1])
    assert sum(step[0].step_tokens for step in dealt) == EPOCHS * sum(map(len, texts))
    assert sum(step[0].step_targets for step in dealt) == len(learnt)

    # From the cursor of any step on, the rest is the same: within the first epoch, and in the second.
    for done in (3, total_steps - 2):
        rest = steps(passages, total_steps, done, dealt[done - 1][0].cursor)
        for before, after in zip(dealt[done:], rest, strict=True):
            for one, other in zip(before, after, strict=True):
                assert np.array_equal(one.rows.ids, other.rows.ids) and one.blocks == other.blocks
                assert one.cursor == other.cursor

    # With another number of ranks, and another share for each: still each block once.
    begun, cursor = dealt[:5], dealt[4][0].cursor
    middle = steps(passages, 7, 5, cursor, world_size=3, per_rank=2, per_step=4)
    assert [[len(share.blocks) for share in step] for step in middle] == [[2, 2, 0]] * 2, "a step stays the same step"
    blocks_left = len(every_block) - len(consumed(begun)) - len(consumed(middle))
    end = steps(passages, 7 + -(-blocks_left // 5), 7, middle[-1][0].cursor, world_size=1, per_rank=5)
    assert consumed(begun) + consumed(middle) + consumed(end) == every_block


def test_feeder_of_pairs(ray_cluster: None, passages: Passages, tiny_corpus: Artifact) -> None:
    """Whole pairs, each once an epoch, the same after a resume inside a window, at its end and in the second epoch."""
    raw = open_artifact(tiny_corpus.store, tiny_corpus.manifest.parents[0].id)
    rows = [
        (f"{(VERSES[n % 8] * 3)[: 12 + n % 31 + 200 * (n % 40 == 0)]} {n}?", f" {n * 7}.") for n in range(WINDOW + 400)
    ]
    corpus = publish_pairs(tiny_corpus.store, raw, {"train": rows}, files=2)
    pairs = Passages.of_corpus(corpus, "train", passages.tokenizer, 1.0, 2)
    counted = count_blocks(pairs, SEQ_LEN, None)
    assert counted.rows == len(rows) and counted.too_long > 0
    total_steps = -(-counted.blocks * EPOCHS // (WORLD_SIZE * PER_RANK))
    dealt = steps(pairs, total_steps)
    assert consumed(dealt) == [f"{epoch}-{index}" for epoch in range(EPOCHS) for index in range(counted.blocks)]
    whole = [p for p in pairs.stream_here() if len(p.ids) <= SEQ_LEN]
    assert len(whole) == len(rows) - counted.too_long
    assert sum(step[0].step_targets for step in dealt) == EPOCHS * sum(len(p.ids) - p.prompt for p in whole)
    window_ends = next(n for n, step in enumerate(dealt, 1) if step[0].cursor.passage == WINDOW)
    for done in (7, window_ends, window_ends + 1, total_steps - 2):
        rest = steps(pairs, done + 2, done, dealt[done - 1][0].cursor)
        for before, after in zip(dealt[done:], rest, strict=False):
            for one, other in zip(before, after, strict=True):
                assert np.array_equal(one.rows.ids, other.rows.ids) and one.blocks == other.blocks
                assert one.cursor == other.cursor


def test_a_resume_opens_no_file_that_is_done(ray_cluster: None, passages: Passages) -> None:
    first, second = passages.rows
    whole = list(passages.stream_here())
    gone = dataclasses.replace(passages, paths=("/nowhere/part.parquet", passages.paths[1]))
    rest = list(gone.stream(first + 5))
    assert len(rest) == second - 5
    assert all(np.array_equal(a.ids, b.ids) for a, b in zip(rest, whole[first + 5 :], strict=True))


def test_rows_that_the_manifest_does_not_know_stop_the_stream(ray_cluster: None, passages: Passages) -> None:
    wrong = dataclasses.replace(passages, rows=(passages.rows[0], passages.rows[1] + 1))
    with pytest.raises(RuntimeError, match="the manifest says 65"):
        list(wrong.stream())
