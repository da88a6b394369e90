"""Shards → the files of the predictions: as many rows to a file as make a good one, in the order of the prompts."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from handoff import schema
from handoff.store import resolve
from inference.pipeline import CPU_STAGE_SLOTS
from inference.prompt_rows import PromptRows
from inference.shards import Answers, Shard
from inference.summary import Summary

ROWS_PER_FILE = 50_000  # least rows in a file of predictions, some 50 MB; the last one may have fewer
TASKS = 4  # files written at a time
CLASSES = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)  # of lengths, in tokens: up to each, and more


@dataclass
class Tally:
    """Counts of what was written."""

    rows: int = 0
    summaries: list[Summary] = field(default_factory=list)
    prompt_tokens: int = 0
    finish_reasons: Counter[str] = field(default_factory=Counter)
    prompt_lengths: Counter[int] = field(default_factory=Counter)
    completion_lengths: Counter[int] = field(default_factory=Counter)

    def add(self, other: "Tally") -> None:
        self.rows += other.rows
        self.summaries += other.summaries
        self.prompt_tokens += other.prompt_tokens
        self.finish_reasons += other.finish_reasons
        self.prompt_lengths += other.prompt_lengths
        self.completion_lengths += other.completion_lengths

    def count(self, rows: pa.Table, summary: Summary) -> None:
        good = rows.filter(rows["error"].is_null())
        self.rows += len(rows)
        self.summaries.append(summary)
        self.finish_reasons.update(good["finish_reason"].to_pylist())
        self.completion_lengths.update(class_of(n) for n in good["completion_tokens"].to_pylist())
        first = [n for n, sample in zip(*_lists(rows, "prompt_tokens", "sample"), strict=True) if sample == 0]
        self.prompt_tokens += sum(first)
        self.prompt_lengths.update(map(class_of, first))


def class_of(tokens: int) -> int:
    """The largest length of the class that a length is in; -1 for the last one."""
    return next((limit for limit in CLASSES if tokens <= limit), -1)


def labelled(lengths: Counter[int]) -> dict[str, int]:
    """Counts under the names of their classes, short ones first."""
    named = {f"to {limit:,}": lengths[limit] for limit in CLASSES} | {f"over {CLASSES[-1]:,}": lengths[-1]}
    return {name: count for name, count in named.items() if count}


def gather(answers: Answers, baseline: Answers | None, base_rows: PromptRows, target: str) -> Tally:
    """Write all shards into Parquet files below ``target``, on the cluster.

    Args:
        answers: the shards, complete.
        baseline: the base model's, for the column ``baseline``.
        base_rows: which prompts the base model answered.
        target: path or URI of a directory that is there.
    """
    import ray

    write = ray.remote(num_cpus=CPU_STAGE_SLOTS)(write_file)
    given = ray.put((answers, baseline, base_rows, baseline.done() if baseline else []))
    files = by_file(answers.done())
    total = Tally()
    running: list[Any] = []
    for number, shards in enumerate(files):
        if len(running) == TASKS:
            total.add(ray.get(running.pop(0)))
        running.append(write.remote(given, shards, f"{target}/part-{number:05d}.parquet"))
    for task in running:
        total.add(ray.get(task))
    return total


def by_file(shards: list[Shard]) -> list[list[Shard]]:
    """Shards, in their order, that go into one file together."""
    files: list[list[Shard]] = []
    rows = ROWS_PER_FILE
    for shard in shards:
        if rows >= ROWS_PER_FILE:
            files.append([])
            rows = 0
        files[-1].append(shard)
        rows += len(shard)
    return files


def write_file(given: tuple[Answers, Answers | None, PromptRows, list[Shard]], shards: list[Shard], uri: str) -> Tally:
    """Write one file, a shard in memory at a time."""
    answers, baseline, base_rows, base_shards = given
    tally = Tally()
    filesystem, path = resolve(uri)
    writer: pq.ParquetWriter | None = None
    try:
        for shard in shards:
            rows, summary = answers.read(shard)
            if baseline is not None:
                rows = _with_baseline(rows, _completions(baseline, base_rows, base_shards, shard))
            tally.count(rows, Summary.model_validate(summary))
            writer = writer or pq.ParquetWriter(path, rows.schema, filesystem=filesystem)
            writer.write_table(rows)
    finally:
        if writer is not None:
            writer.close()
    return tally


def _completions(baseline: Answers, base_rows: PromptRows, done: list[Shard], shard: Shard) -> dict[Any, Any]:
    """The base model's completions of a shard's prompts, by position and number of the answer."""
    first, last = base_rows.first_place(shard.start), base_rows.first_place(shard.stop)
    found: dict[Any, Any] = {}
    for mine in done:
        if mine.start < last and mine.stop > first:
            table, _ = baseline.read(mine)
            columns = _lists(table, "position", "sample", "completion")
            found |= {(position, sample): text for position, sample, text in zip(*columns, strict=True)}
    return found


def _with_baseline(rows: pa.Table, completions: dict[Any, Any]) -> pa.Table:
    texts = [completions.get(key) for key in zip(*_lists(rows, "position", "sample"), strict=True)]
    at = schema.PREDICTIONS.get_field_index("baseline")
    return rows.set_column(at, "baseline", pa.array(texts, pa.string()))


def _lists(table: pa.Table, *names: str) -> list[list[Any]]:
    return [table[name].to_pylist() for name in names]
