"""Packing tokenised rows into blocks of ``seq_len`` tokens: pure functions, the same blocks at every attempt.

Passages of text are a stream. Packed, block ``k`` of an epoch is tokens ``k * seq_len`` to ``(k + 1) * seq_len`` of the
concatenated passages, whatever the number of workers; only the last block of an epoch is padded. Padded, each passage
has rows of its own: the published recipes' way, kept for comparison.

Pairs of prompt and completion are never cut: a completion without its prompt teaches to answer a question that nobody
asked. WINDOW of them at a time are laid into blocks by best fit, longest first, which leaves a few percent padding; a
pair longer than a block is left out and counted (:class:`Count`).

A passage never sees another one: positions start again at 0 with each piece, and attention stays within it (see
``training.worker.attention``). Pads, the first token of a piece (nothing of its passage comes before it in the block) and
the tokens of a prompt are no targets of the loss.
"""

import bisect
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

IGNORED = -100  # a label that the loss skips
WINDOW = 1024  # pairs packed at a time: blocks are 98 % full at lengths uniform up to half a block

Ids = npt.NDArray[np.int32]
Row = TypeVar("Row")


class Passage(NamedTuple):
    """One tokenised training row.

    Attributes:
        ids: int32 token ids, shape (tokens,).
        prompt: how many of the first tokens are given and not learnt.
    """

    ids: Ids
    prompt: int = 0


Piece = tuple[Passage, int, int]  # a passage, and its first and last token (exclusive) in a block


@dataclass(frozen=True)
class Position:
    """Where packing continues within the epoch.

    Attributes:
        passage: number of a passage; of pairs the first one of a window.
        taken: how much of it is packed already: tokens of that passage; of pairs, blocks of that window.
    """

    passage: int = 0
    taken: int = 0


@dataclass(frozen=True)
class Count:
    """What an epoch holds.

    Attributes:
        blocks: how many there are.
        rows: passages or pairs that were looked at for it.
        too_long: of these, pairs that no block holds; they are left out.
    """

    blocks: int
    rows: int
    too_long: int = 0


@dataclass(frozen=True)
class Block:
    """One training row.

    Attributes:
        ids: int32, shape (seq_len,); what lies beyond ``sum(lengths)`` is padding.
        positions: int32, shape (seq_len,): place of each token in its piece; pads go on counting from the last one,
            so that a row of one piece needs no mask but the causal one.
        labels: int32, shape (seq_len,), not shifted: the token itself, or ``IGNORED``.
        lengths: tokens of each passage piece in the block, in order: the document boundaries.
        index: number of the block within its epoch.
        end: where the next block begins.
    """

    ids: Ids
    positions: Ids
    labels: Ids
    lengths: tuple[int, ...]
    index: int
    end: Position

    @property
    def tokens(self) -> int:
        """Real tokens, pads not counted."""
        return sum(self.lengths)


def pack(
    passages: Iterable[Passage],
    seq_len: int,
    pad_id: int,
    start: Position = Position(),
    index: int = 0,
    *,
    padded: bool = False,
    pairs: bool = False,
) -> Iterator[Block]:
    """Lay passages into blocks.

    Args:
        passages: from passage ``start.passage`` of the epoch on.
        seq_len: tokens in a block.
        pad_id: fills the rest of a block.
        start: where the first block begins.
        index: number of the first block.
        padded: begin each passage in a block of its own.
        pairs: the passages are pairs, which are not cut.
    """
    laid_out = _whole_pairs if pairs else _cut_stream
    for pieces, end in laid_out(passages, seq_len, start, padded):
        yield _block(pieces, seq_len, pad_id, index, end)
        index += 1


def _cut_stream(
    passages: Iterable[Passage], seq_len: int, start: Position, padded: bool
) -> Iterator[tuple[list[Piece], Position]]:
    """The pieces of each block of a stream of text, and where the next block begins."""
    pieces, filled, number, skip = list[Piece](), 0, start.passage - 1, start.taken
    for number, passage in enumerate(passages, start.passage):
        taken, skip = skip, 0
        while taken < len(passage.ids):
            stop = min(len(passage.ids), taken + seq_len - filled)
            pieces.append((passage, taken, stop))
            filled, taken = filled + stop - taken, stop
            if filled == seq_len or (padded and taken == len(passage.ids)):
                end = Position(number, taken) if taken < len(passage.ids) else Position(number + 1)
                yield pieces, end
                pieces, filled = [], 0
    if pieces:
        yield pieces, Position(number + 1)


def _whole_pairs(
    passages: Iterable[Passage], seq_len: int, start: Position, padded: bool
) -> Iterator[tuple[list[Piece], Position]]:
    """The pairs of each block, and where the next block begins."""
    first, taken = start.passage, start.taken
    for window in _windows(passages):
        blocks = best_fit([len(pair.ids) for pair in window], seq_len, alone=padded)
        for n, members in enumerate(blocks[taken:], taken + 1):
            end = Position(first, n) if n < len(blocks) else Position(first + len(window))
            yield [(window[m], 0, len(window[m].ids)) for m in members], end
        first, taken = first + len(window), 0


def best_fit(lengths: Sequence[int], seq_len: int, *, alone: bool = False) -> list[list[int]]:
    """Lay rows of these lengths into blocks: longest first, each into the fullest block that has room for it.

    Best-fit decreasing (Johnson, 1973) needs at most 11/9 of the fewest possible blocks.

    Returns:
        Row numbers of each block, ascending; blocks in the order of their first rows, so that the order of training is
        that of the corpus. Rows longer than ``seq_len`` are in none.
    """
    blocks: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # (free tokens, block), ascending
    for row in sorted((n for n, length in enumerate(lengths) if length <= seq_len), key=lambda n: (-lengths[n], n)):
        at = bisect.bisect_left(rooms, (lengths[row], -1))
        if alone or at == len(rooms):
            blocks.append([])
            free, block = seq_len, len(blocks) - 1
        else:
            free, block = rooms.pop(at)
        blocks[block].append(row)
        bisect.insort(rooms, (free - lengths[row], block))
    return sorted(sorted(rows) for rows in blocks)


def _windows(rows: Iterable[Row]) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while window := list(itertools.islice(iterator, WINDOW)):
        yield window


def _block(pieces: list[Piece], seq_len: int, pad_id: int, index: int, end: Position) -> Block:
    ids, positions, labels = (
        np.full(seq_len, pad_id, np.int32),
        np.arange(seq_len, dtype=np.int32),
        ignored_labels(seq_len),
    )
    at = 0
    for passage, begin, stop in pieces:
        after = at + stop - begin
        ids[at:after] = passage.ids[begin:stop]
        positions[at:] -= positions[at]
        learnt = at + max(1, passage.prompt - begin)
        labels[learnt:after] = ids[learnt:after]
        at = after
    return Block(ids, positions, labels, tuple(stop - begin for _, begin, stop in pieces), index, end)


def ignored_labels(*shape: int) -> Ids:
    """Labels that the loss ignores, all of them."""
    return np.full(shape, IGNORED, np.int32)


def count(
    lengths: Iterable[int], seq_len: int, enough: int | None = None, *, padded: bool = False, pairs: bool = False
) -> Count:
    """How many blocks :func:`pack` makes of passages of these lengths; stops at ``enough`` blocks, where given."""
    rows = tokens = blocks = too_long = 0
    if pairs:
        for window in _windows(lengths):
            rows += len(window)
            too_long += sum(length > seq_len for length in window)
            blocks += len(best_fit(window, seq_len, alone=padded))
            if enough is not None and blocks >= enough:
                return Count(enough, rows, too_long)
        return Count(blocks, rows, too_long)
    for length in lengths:
        rows, tokens = rows + 1, tokens + length
        blocks = blocks - (-length // seq_len) if padded else -(-tokens // seq_len)
        if enough is not None and blocks >= enough:
            return Count(enough, rows)
    return Count(blocks, rows)
