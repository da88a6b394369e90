"""Packing: nothing lost, nothing invented, the same blocks wherever one starts."""

import itertools

import numpy as np
import pytest

from training.data.packing import IGNORED, Block, Count, Passage, Position, best_fit, count, pack

PAD = 0


def passages(seed: int, count: int = 40) -> list[Passage]:
    """Passages of 1 to 30 tokens with values above PAD."""
    rng = np.random.default_rng(seed)
    return [Passage(rng.integers(1, 1000, rng.integers(1, 31)).astype(np.int32)) for _ in range(count)]


def counted(*lengths: int, prompt: int = 0) -> list[Passage]:
    """Passages of these lengths whose tokens count 1, 2, 3, ... through all of them."""
    ends = np.cumsum(lengths)
    return [Passage(np.arange(e - n, e, dtype=np.int32) + 1, prompt) for e, n in zip(ends, lengths, strict=True)]


def real_tokens(blocks: list[Block]) -> np.ndarray:
    return np.concatenate([b.ids[: b.tokens] for b in blocks])


@pytest.mark.parametrize("seq_len", [1, 7, 16, 64, 10_000])
def test_blocks_are_the_stream_cut_into_equal_parts(seq_len: int) -> None:
    texts = passages(1)
    blocks = list(pack(texts, seq_len, PAD))
    assert np.array_equal(real_tokens(blocks), np.concatenate([t.ids for t in texts]))
    assert [b.index for b in blocks] == list(range(len(blocks)))
    assert all(len(b.ids) == seq_len for b in blocks)
    assert all(b.tokens == seq_len for b in blocks[:-1]), "padding is in the last block only"
    assert np.all(blocks[-1].ids[blocks[-1].tokens :] == PAD)


def test_lengths_are_the_document_boundaries() -> None:
    blocks = list(pack(counted(5, 3, 1), 4, PAD))
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
    blocks = list(pack(counted(100), 8, PAD))
    assert blocks[4].end == Position(passage=0, taken=40)
    rest = list(pack(counted(100), 8, PAD, blocks[4].end, 5))
    assert np.array_equal(real_tokens(rest), np.arange(41, 101))


def test_nothing_packs_to_nothing() -> None:
    assert list(pack([], 8, PAD)) == []


def test_positions_start_again_with_each_passage_and_its_first_token_is_no_target() -> None:
    first, second, last = pack(counted(5, 3, 1), 4, PAD)
    assert first.positions.tolist() == [0, 1, 2, 3] and first.labels.tolist() == [IGNORED, 2, 3, 4]
    assert second.positions.tolist() == [0, 0, 1, 2] and second.labels.tolist() == [IGNORED, IGNORED, 7, 8]
    assert last.positions.tolist() == [0, 1, 2, 3], "pads need no mask of their own"
    assert last.labels.tolist() == [IGNORED] * 4, "pads are no targets"


@pytest.mark.parametrize("padded", [False, True])
def test_a_prompt_is_no_target_wherever_it_is_cut(padded: bool) -> None:
    blocks = list(pack(counted(10, 10, prompt=6), 4, PAD, padded=padded))
    learnt = [int(t) for b in blocks for t in b.labels if t != IGNORED]
    assert learnt and all((t - 1) % 10 >= 6 for t in learnt)
    whole = next(pack(counted(10, prompt=6), 16, PAD))
    assert [int(t) for t in whole.labels if t != IGNORED] == [7, 8, 9, 10]


def test_padded_each_passage_has_rows_of_its_own() -> None:
    blocks = list(pack(counted(5, 3, 4), 4, PAD, padded=True))
    assert [b.lengths for b in blocks] == [(4,), (1,), (3,), (4,)]
    assert [b.end for b in blocks] == [Position(0, 4), Position(1), Position(2), Position(3)]
    assert all(b.positions.tolist() == [0, 1, 2, 3] for b in blocks)
    resumed = list(pack(counted(5, 3, 4)[1:], 4, PAD, blocks[1].end, 2, padded=True))
    assert [b.ids.tolist() for b in resumed] == [b.ids.tolist() for b in blocks[2:]]


@pytest.mark.parametrize("padded", [False, True])
def test_blocks_are_counted_as_they_are_packed(padded: bool) -> None:
    texts = passages(3)
    made = len(list(pack(texts, 16, PAD, padded=padded)))
    assert count((len(t.ids) for t in texts), 16, padded=padded).blocks == made
    assert count((len(t.ids) for t in texts), 16, 5, padded=padded).blocks == 5


def test_a_row_of_ten_million_tokens_is_packed_like_any_other() -> None:
    huge = Passage(np.ones(10_000_000, np.int32))
    assert sum(b.tokens for b in pack([huge], 4096, PAD)) == 10_000_000


def test_packing_reads_no_further_than_it_must() -> None:
    endless = (Passage(np.full(5, n % 9 + 1, np.int32)) for n in itertools.count())
    first = next(pack(endless, 12, PAD))
    assert first.tokens == 12
    assert next(endless).ids[0] == 4  # passages 0, 1 and 2 were read


# -- pairs of prompt and completion


def pairs(seed: int, count: int, shortest: int, longest: int) -> list[Passage]:
    """Pairs of these lengths in tokens, of which the first half is the prompt."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(shortest, longest + 1, count)
    return [Passage(rng.integers(1, 1000, n).astype(np.int32), n // 2) for n in lengths]


@pytest.mark.parametrize("padded", [False, True])
def test_a_pair_is_never_cut_and_none_is_lost_or_doubled(padded: bool) -> None:
    rows = pairs(1, 3000, 200, 330)  # 266 tokens in the middle: a stream of blocks of 512 cuts every second one
    blocks = list(pack(rows, 512, PAD, padded=padded, pairs=True))
    found = [b.ids[at : at + n].tolist() for b in blocks for at, n in zip(np.cumsum((0, *b.lengths)), b.lengths)]  # noqa: B905
    assert sorted(found) == sorted(r.ids.tolist() for r in rows)
    learnt = sum(int(np.count_nonzero(b.labels != IGNORED)) for b in blocks)
    assert learnt == sum(len(r.ids) - r.prompt for r in rows), "whole completions, nothing of a prompt"
    assert [b.index for b in blocks] == list(range(len(blocks)))
    assert all(len(b.lengths) == 1 for b in blocks) or not padded


def test_pairs_fill_blocks_nearly_as_well_as_a_stream() -> None:
    rows = pairs(2, 3000, 10, 256)
    blocks = list(pack(rows, 512, PAD, pairs=True))
    assert sum(len(r.ids) for r in rows) / (512 * len(blocks)) > 0.98


def test_a_pair_longer_than_a_block_is_left_out_and_counted() -> None:
    rows = pairs(3, 1500, 20, 80)
    short = [r.ids.tolist() for r in rows if len(r.ids) <= 64]
    blocks = list(pack(rows, 64, PAD, pairs=True))
    assert sum(len(b.lengths) for b in blocks) == len(short) < len(rows)
    counted = count((len(r.ids) for r in rows), 64, pairs=True)
    assert counted == Count(len(blocks), 1500, 1500 - len(short))
    assert count((len(r.ids) for r in rows), 64, 5, pairs=True).blocks == 5
    assert count([65, 66], 64, pairs=True) == Count(0, 2, 2) and not list(pack([rows[0]], 8, PAD, pairs=True))


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("stop_after", [1, 7, 400, 401])
def test_packing_pairs_goes_on_from_any_block(stop_after: int, padded: bool) -> None:
    rows = pairs(4, 2500, 20, 80)
    whole = list(pack(rows, 128, PAD, padded=padded, pairs=True))
    end = whole[stop_after - 1].end
    resumed = list(pack(rows[end.passage :], 128, PAD, end, stop_after, padded=padded, pairs=True))
    assert [(b.index, b.ids.tolist(), b.end) for b in resumed] == [
        (b.index, b.ids.tolist(), b.end) for b in whole[stop_after:]
    ]


def test_best_fit_takes_the_fullest_block_with_room_and_keeps_the_order() -> None:
    assert best_fit([3, 7, 5, 2, 9, 1, 10, 11], 10) == [[0, 1], [2, 3], [4, 5], [6]]
    assert best_fit([3, 7], 10, alone=True) == [[0], [1]]
