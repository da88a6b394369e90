"""Packing a stream of tokenised passages into blocks of ``seq_len`` tokens: a pure, sequential function.

Packed, block ``k`` of an epoch is tokens ``k * seq_len`` to ``(k + 1) * seq_len`` of the concatenated passages,
whatever the number of workers; only the last block of an epoch is padded. Padded, each passage has rows of its own:
the published recipes' way, kept for comparison.

A passage never sees another one: positions start again at 0 with each piece, and attention stays within it (see
``training.attention``). Pads, the first token of a piece (nothing of its passage comes before it in the block) and
the tokens of a prompt are no targets of the loss.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

IGNORED = -100  # a label that the loss skips

Ids = npt.NDArray[np.int32]


class Passage(NamedTuple):
    """One tokenised training row.

    Attributes:
        ids: int32 token ids, shape (tokens,).
        prompt: how many of the first tokens are given and not learnt.
    """

    ids: Ids
    prompt: int = 0


@dataclass(frozen=True)
class Position:
    """The first token not yet packed: passage number within the epoch, and token within that passage."""

    passage: int = 0
    token: int = 0


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
) -> Iterator[Block]:
    """Cut a stream of passages into blocks.

    Args:
        passages: from passage ``start.passage`` of the epoch on.
        seq_len: tokens in a block.
        pad_id: fills the rest of a block.
        start: where the first block begins.
        index: number of the first block.
        padded: begin each passage in a block of its own.
    """
    pieces, filled, number, skip = list[tuple[Passage, int, int]](), 0, start.passage - 1, start.token
    for number, passage in enumerate(passages, start.passage):
        taken, skip = skip, 0
        while taken < len(passage.ids):
            stop = min(len(passage.ids), taken + seq_len - filled)
            pieces.append((passage, taken, stop))
            filled, taken = filled + stop - taken, stop
            if filled == seq_len or (padded and taken == len(passage.ids)):
                end = Position(number, taken) if taken < len(passage.ids) else Position(number + 1)
                yield _block(pieces, seq_len, pad_id, index, end)
                pieces, filled, index = [], 0, index + 1
    if pieces:
        yield _block(pieces, seq_len, pad_id, index, Position(number + 1))


def _block(pieces: list[tuple[Passage, int, int]], seq_len: int, pad_id: int, index: int, end: Position) -> Block:
    ids, positions, labels = np.full(seq_len, pad_id, np.int32), np.arange(seq_len, dtype=np.int32), nothing(seq_len)
    at = 0
    for passage, begin, stop in pieces:
        after = at + stop - begin
        ids[at:after] = passage.ids[begin:stop]
        positions[at:] -= positions[at]
        learnt = at + max(1, passage.prompt - begin)
        labels[learnt:after] = ids[learnt:after]
        at = after
    return Block(ids, positions, labels, tuple(stop - begin for _, begin, stop in pieces), index, end)


def nothing(*shape: int) -> Ids:
    """Labels of which none is a target."""
    return np.full(shape, IGNORED, np.int32)


def blocks_of(lengths: Iterable[int], seq_len: int, enough: int | None = None, *, padded: bool = False) -> int:
    """How many blocks :func:`pack` makes of passages of these lengths; stops counting at ``enough``, where given."""
    tokens = blocks = 0
    for length in lengths:
        tokens += length
        blocks = blocks - (-length // seq_len) if padded else -(-tokens // seq_len)
        if enough is not None and blocks >= enough:
            return enough
    return blocks
