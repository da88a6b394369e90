"""Packing a stream of tokenised passages into blocks of ``seq_len`` tokens: a pure, sequential function.

Block ``k`` of an epoch is tokens ``k * seq_len`` to ``(k + 1) * seq_len`` of the concatenated passages, whatever
the number of workers. Only the last block of an epoch is padded, and pads are never a target of the loss.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IGNORED = -100  # a label that the loss skips

Ids = npt.NDArray[np.int32]


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
        lengths: tokens of each passage piece in the block, in order: the document boundaries.
        index: number of the block within its epoch.
        end: where the next block begins.
    """

    ids: Ids
    lengths: tuple[int, ...]
    index: int
    end: Position

    @property
    def tokens(self) -> int:
        """Real tokens, pads not counted."""
        return sum(self.lengths)


def pack(
    passages: Iterable[Ids], seq_len: int, pad_id: int, start: Position = Position(), index: int = 0
) -> Iterator[Block]:
    """Cut a stream of passages into blocks.

    Args:
        passages: token ids of each passage, from passage ``start.passage`` of the epoch on.
        seq_len: tokens in a block.
        pad_id: fills the rest of the last block.
        start: where the first block begins.
        index: number of the first block.
    """
    ids, lengths, filled = np.full(seq_len, pad_id, np.int32), list[int](), 0
    skip = start.token
    for number, passage in enumerate(passages, start.passage):
        taken, skip = skip, 0
        while taken < len(passage):
            piece = passage[taken : taken + seq_len - filled]
            ids[filled : filled + len(piece)] = piece
            lengths.append(len(piece))
            filled, taken = filled + len(piece), taken + len(piece)
            if filled == seq_len:
                end = Position(number, taken) if taken < len(passage) else Position(number + 1)
                yield Block(ids, tuple(lengths), index, end)
                ids, lengths, filled, index = np.full(seq_len, pad_id, np.int32), [], 0, index + 1
    if filled:
        yield Block(ids, tuple(lengths), index, Position(number + 1))


def labels(ids: npt.NDArray[np.integer], tokens: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """What the loss compares with, not yet shifted: the tokens themselves, ``IGNORED`` on padding.

    Args:
        ids: shape (blocks, seq_len).
        tokens: real tokens of each block, shape (blocks,).
    """
    real = np.arange(ids.shape[1])[None, :] < np.asarray(tokens)[:, None]
    return np.where(real, ids, IGNORED).astype(np.int64)
