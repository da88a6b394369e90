"""Corpus snapshot → Ray Data → blocks for the workers, exactly the same ones in the same order at every attempt.

    the manifest's files ──▶ read and tokenise (CPU tasks) ──▶ BlockFeeder: pack in order ──▶ rank r's share of step s

Tasks read the files that the manifest names. ``ray.data.read_parquet`` would list and sample them again, in tasks
that take a whole CPU slot each whatever they are told; on a cluster full of workers none comes free, the workers
wait for data, and nothing moves any more (Ray 2.60, either reader).

Ray Data's own ``streaming_split`` hands whole bundles to whichever rank has the fewest rows: with
``equal=True`` it drops up to ``world_size - 1`` rows at the end, without it ranks may get different numbers of rows,
and neither leaves a place for packing across bundles. So Ray Data streams and tokenises, in order, and one feeder
actor packs what arrives (50 million tokens a second, far more than a cluster trains on) and deals it out:

- Step ``s`` is blocks ``s * B`` to ``(s + 1) * B``, where ``B`` is blocks per step; each rank gets an equal
  number of places, and blocks in order for them. What has been consumed is therefore always a prefix, and the cursor a
  position in the stream.
- Every rank takes the same number of steps. Where blocks do not fill all places (the last step of the last epoch, a
  number of ranks that does not divide them) the others are blocks without targets; no block is dropped.
- A resume opens the files from the one that holds the cursor's passage on, and skips to it.
- A bounded number of rows is in flight: Ray Data holds tokenising back while nobody asks for blocks.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from handoff.artifact import Artifact
from handoff.rows import has_pairs, read_rows
from handoff.tokenizer import ModelTokenizer
from training.data.packing import Block, Count, Passage, Position, count, ignored_labels, pack
from training.worker.step import Rows, targets_of

FEW_TOKENS = 2_000_000  # counted in this process in 2 s; starting Ray Data takes longer


@dataclass(frozen=True)
class Cursor:
    """Position of training in its data; saved in every checkpoint."""

    blocks: int = 0
    epoch: int = 0
    index: int = 0  # next block within the epoch
    passage: int = 0  # this and the next one are a Position
    taken: int = 0


@dataclass(frozen=True)
class Passages:
    """The train split as Ray Data reads it.

    Args:
        filesystem: pyarrow filesystem of the files; None for local ones.
        paths: files in the manifest's order.
        rows: passages in each file.
        tokenizer: makes tokens of them.
        cpus_per_task: CPU slots of a read-and-tokenise task.
        max_tasks: tasks at a time.
        pairs: the rows are prompts with completions.
    """

    filesystem: Any
    paths: tuple[str, ...]
    rows: tuple[int, ...]
    tokenizer: ModelTokenizer
    cpus_per_task: float
    max_tasks: int
    pairs: bool = False

    @classmethod
    def of_corpus(
        cls, corpus: Artifact, split: str, tokenizer: ModelTokenizer, cpus_per_task: float, max_tasks: int
    ) -> "Passages":
        """The files of one split of a corpus artifact."""
        entries = [f for f in corpus.manifest.files if f.split == split and f.rows]
        located = [corpus.store.locate(corpus.path_of(f)) for f in entries]
        filesystem = None if corpus.store.is_local else located[0][0]
        rows = tuple(f.rows or 0 for f in entries)
        paths = tuple(path for _, path in located)
        return cls(filesystem, paths, rows, tokenizer, cpus_per_task, max_tasks, has_pairs(corpus))

    def stream(self, first: int = 0, times: int = 1) -> Iterator[Passage]:
        """The tokenised passages in order; runs Ray Data in this process, once for all passes.

        Args:
            first: passage of the first pass to begin with.
            times: passes over the split.

        Raises:
            RuntimeError: rows did not arrive in the manifest's order or number: training on them could not be repeated.
        """
        import ray

        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        ends = np.cumsum(self.rows)
        at_file = int(np.searchsorted(ends, first, side="right"))
        paths = self.paths[at_file:] + self.paths * (times - 1)
        expected = np.array(self.rows[at_file:] + self.rows * (times - 1))
        passed = int(ends[at_file - 1]) if at_file else 0
        if not paths:
            return
        files = [pa.table({"file": pa.array([n], pa.int32()), "path": [path]}) for n, path in enumerate(paths)]
        dataset = ray.data.from_blocks(files).map_batches(
            read_and_tokenise,  # type: ignore[arg-type]
            fn_args=(self.filesystem, self.tokenizer),
            batch_format="pyarrow",
            batch_size=None,
            num_cpus=self.cpus_per_task,
            compute=ray.data.TaskPoolStrategy(size=min(self.max_tasks, len(paths))),
        )
        seen = np.zeros(len(paths), np.int64)
        batch: Any
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            numbers = batch["file"].to_numpy()
            if len(numbers) and (np.any(np.diff(numbers) < 0) or np.any(seen[numbers[0] + 1 :])):
                raise RuntimeError("Ray Data did not keep the order of the corpus files")
            seen += np.bincount(numbers, minlength=len(paths))
            whole = numbers[-1] if len(numbers) else 0  # files before this one are read to their ends
            if np.any(seen[:whole] != expected[:whole]):
                raise RuntimeError(f"a corpus file has other rows than the manifest says: {paths[:whole]}")
            given = iter(batch["prompt"].to_pylist())
            for chunk in batch["tokens"].chunks:
                values, offsets = chunk.values.to_numpy(), chunk.offsets.to_numpy()
                for begin, end in itertools.pairwise(offsets):
                    passed, prompt = passed + 1, next(given)
                    if passed > first:
                        yield Passage(values[begin:end], prompt)
        if np.any(seen != expected):
            raise RuntimeError(f"Ray Data read {seen.sum()} passages, the manifest says {expected.sum()}")

    def stream_here(self) -> Iterator[Passage]:
        """The same passages from the first on, tokenised in this process, without Ray Data: for the first few."""
        for path in self.paths:
            for rows in read_rows(path, self.filesystem, self.tokenizer, end=True):
                for ids, prompt in rows:
                    yield Passage(np.asarray(ids, np.int32), prompt)

    def first_blocks(self, seq_len: int, most: int, *, padded: bool) -> list[Block]:
        """The first blocks of an epoch, made by this process alone."""
        blocks = pack(self.stream_here(), seq_len, self.tokenizer.end_id, padded=padded, pairs=self.pairs)
        return list(itertools.islice(blocks, most))


def read_and_tokenise(files: pa.Table, filesystem: Any, tokenizer: ModelTokenizer) -> Iterator[pa.Table]:
    """A task's work: files (file, path) → tables of ``file``, ``tokens`` (list<int32>, EOS included) and ``prompt``,
    the number of tokens that are given."""
    for file in files.to_pylist():
        for rows in read_rows(file["path"], filesystem, tokenizer, end=True):
            ids, prompts = zip(*rows, strict=True)
            numbers = pa.array([file["file"]] * len(rows), pa.int32())
            tokens = pa.array(ids, pa.list_(pa.int32()))
            yield pa.table({"file": numbers, "tokens": tokens, "prompt": pa.array(prompts, pa.int32())})


def count_blocks(passages: Passages, seq_len: int, enough: int | None, *, padded: bool = False) -> Count:
    """What one epoch holds, by tokenising the split once; stops at ``enough`` blocks, where given."""

    def counted(stream: Iterator[Passage]) -> Count:
        return count((len(p.ids) for p in stream), seq_len, enough, padded=padded, pairs=passages.pairs)

    if enough is not None and enough * seq_len <= FEW_TOKENS:
        return counted(passages.stream_here())
    import ray

    # In a task, whose Ray Data messages go to the session's log files.
    return ray.get(ray.remote(num_cpus=0)(lambda: counted(passages.stream())).remote())


@dataclass(frozen=True)
class Share:
    """One rank's training data of one step.

    Attributes:
        rows: its blocks, and fillers without targets where the last step lacks blocks.
        blocks: ids of its blocks, ``epoch-index``: the same at every attempt and for any number of ranks.
        step_targets: predicted tokens of the step over all ranks, which the loss is divided by.
        step_tokens: real tokens of the step over all ranks.
        step_blocks: ids of the blocks of all ranks.
        cursor: what has been consumed after this step.
    """

    rows: Rows
    blocks: tuple[str, ...]
    step_targets: int
    step_tokens: int
    step_blocks: tuple[str, ...]
    cursor: Cursor


@dataclass(frozen=True)
class Deal:
    """How blocks are made and dealt out.

    Args:
        seq_len: tokens in a block.
        epochs: passes over the split.
        world_size: ranks that ask.
        blocks_per_step: blocks of a step.
        blocks_per_rank: places for them that each rank has; those left over are filled with blocks without targets.
        padded: a block for each passage.
    """

    seq_len: int
    epochs: int
    world_size: int
    blocks_per_step: int
    blocks_per_rank: int
    padded: bool = False


class BlockFeeder:
    """Packs the token stream and deals it out; one actor per attempt, which rank 0 owns and which ends with it.

    Args:
        passages: the train split.
        deal: how; the world size may be another than that of the attempt before.
        first_step: number of the first step that is asked for.
        start: where to go on.
    """

    def __init__(self, passages: Passages, deal: Deal, first_step: int = 0, start: Cursor = Cursor()) -> None:
        self._passages, self._deal, self._cursor, self._next = passages, deal, start, first_step
        self._stream = self._blocks(start)
        self._dealt: dict[int, list[Share]] = {}
        self._taken: dict[int, int] = {}

    def share(self, step: int, rank: int) -> Share:
        """The share of one rank in one step; each rank asks for each step once, in order."""
        while self._next <= step:
            self._dealt[self._next], self._taken[self._next] = self._shares(), 0
            self._next += 1
        mine = self._dealt[step][rank]
        self._taken[step] += 1
        if self._taken[step] == self._deal.world_size:
            del self._dealt[step], self._taken[step]
        return mine

    def _blocks(self, start: Cursor) -> Iterator[tuple[int, Block]]:
        pad, at, index = self._passages.tokenizer.end_id, Position(start.passage, start.taken), start.index
        passages = self._passages.stream(start.passage, self._deal.epochs - start.epoch)
        for epoch in range(start.epoch, self._deal.epochs):
            of_epoch = itertools.islice(passages, sum(self._passages.rows) - at.passage)
            blocks = pack(
                of_epoch, self._deal.seq_len, pad, at, index, padded=self._deal.padded, pairs=self._passages.pairs
            )
            for block in blocks:
                yield epoch, block
            at, index = Position(), 0
        next(passages, None)  # to its end, where it compares what it read with the manifest

    def _shares(self) -> list[Share]:
        n = self._deal.blocks_per_rank
        dealt = list(itertools.islice(self._stream, self._deal.blocks_per_step))
        for epoch, block in dealt:
            self._cursor = Cursor(self._cursor.blocks + 1, epoch, block.index + 1, block.end.passage, block.end.taken)
        rows = rows_of([b for _, b in dealt], self._deal.world_size * n, self._deal.seq_len)
        names = [f"{epoch}-{block.index}" for epoch, block in dealt]
        targets, tokens = targets_of(rows.labels), sum(b.tokens for _, b in dealt)
        return [
            Share(
                Rows(rows.ids[at : at + n], rows.positions[at : at + n], rows.labels[at : at + n]),
                tuple(names[at : at + n]), targets, tokens, tuple(names), self._cursor,
            )
            for at in range(0, len(rows.ids), n)
        ]  # fmt: skip


def rows_of(blocks: Sequence[Block], count: int, seq_len: int) -> Rows:
    """Blocks as arrays of ``count`` rows; rows beyond the blocks have ignored labels only."""
    rows = Rows(np.zeros((count, seq_len), np.int32), np.tile(np.arange(seq_len, dtype=np.int32), (count, 1)),
                ignored_labels(count, seq_len))  # fmt: skip
    for n, block in enumerate(blocks):
        rows.ids[n], rows.positions[n], rows.labels[n] = block.ids, block.positions, block.labels
    return rows
