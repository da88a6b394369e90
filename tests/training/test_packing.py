"""Packing: nothing lost, nothing invented, the same blocks wherever one starts."""

import itertools

import numpy as np
import pytest

from training.packing import IGNORED, Block, Position, labels, pack

PAD = 0


def passages(seed: int, count: int = 40) -> list[np.ndarray]:
    """Passages of 1 to 30 tokens with values above PAD."""
    rng = np.random.default_rng(seed)
    return [rng.integers(1, 1000, rng.integers(1, 31)).astype(np.int32) for _ in range(count)]


def real_tokens(blocks: list[Block]) -> np.ndarray:
    return np.concatenate([b.ids[: b.tokens] for b in blocks])


@pytest.mark.parametrize("seq_len", [1, 7, 16, 64, 10_000])
def test_blocks_are_the_stream_cut_into_equal_parts(seq_len: int) -> None:
    texts = passages(1)
    blocks = list(pack(texts, seq_len, PAD))
    assert np.array_equal(real_tokens(blocks), np.concatenate(texts))
    assert [b.index for b in blocks] == list(range(len(blocks)))
    assert all(len(b.ids) == seq_len for b in blocks)
    assert all(b.tokens == seq_len for b in blocks[:-1]), "padding is in the last block only"
    assert np.all(blocks[-1].ids[blocks[-1].tokens :] == PAD)


def test_lengths_are_the_document_boundaries() -> None:
    blocks = list(pack([np.arange(1, 6), np.arange(6, 9), np.arange(9, 10)], 4, PAD))
    assert [b.lengths for b in blocks] == [(4,), (1, 3), (1,)]


@pytest.mark.parametrize("stop_after", [1, 2, 5, 11])
def test_packing_goes_on_from_any_block(stop_after: int) -> None:
    texts = passages(2)
    whole = list(pack(texts, 16, PAD))
    end = whole[stop_after - 1].end
    resumed = list(pack(texts[end.passage :], 16, PAD, end, stop_after))
    assert [(b.index, b.ids.tolist(), b.lengths) for b in resumed] == [
        (b.index, b.ids.tolist(), b.lengths) for b in whole[stop_after:]
    ]


def test_a_passage_longer_than_many_blocks_is_resumed_inside() -> None:
    blocks = list(pack([np.arange(1, 101)], 8, PAD))
    assert blocks[4].end == Position(passage=0, token=40)
    rest = list(pack([np.arange(1, 101)], 8, PAD, blocks[4].end, 5))
    assert np.array_equal(real_tokens(rest), np.arange(41, 101))


def test_nothing_packs_to_nothing() -> None:
    assert list(pack([], 8, PAD)) == []


def test_pads_and_fillers_are_no_targets() -> None:
    ids = np.arange(1, 9).reshape(2, 4)
    assert labels(ids, np.array([3, 0])).tolist() == [[1, 2, 3, IGNORED], [IGNORED] * 4]


def test_packing_reads_no_further_than_it_must() -> None:
    endless = (np.full(5, n % 9 + 1, np.int32) for n in itertools.count())
    first = next(pack(endless, 12, PAD))
    assert first.tokens == 12
    assert next(endless)[0] == 4  # passages 0, 1 and 2 were read
