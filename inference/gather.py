"""Shards → the files of the predictions: as many rows to a file as make a good one, in the order of the prompts."""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from handoff.store import resolve
from inference.pipeline import CPU_STAGE_SLOTS
from inference.prompt_rows import PromptRows
from inference.shards import Answers, Shard
from inference.summary import Summary

ROWS_PER_FILE = 50_000  # least rows in a file of predictions, some 50 MB; the last one may have fewer
TASKS = 4  # files written at a time
BASELINES = {"baseline": "completion", "baseline_log_likelihood": "log_likelihood"}  # base model's column: its source
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
    log_likelihoods: list[float] = field(default_factory=list)  # of the task score: a sum per shard

    def add(self, other: "Tally") -> None:
        self.rows += other.rows
        self.summaries += other.summaries
        self.prompt_tokens += other.prompt_tokens
        self.finish_reasons += other.finish_reasons
        self.prompt_lengths += other.prompt_lengths
        self.completion_lengths += other.completion_lengths
        self.log_likelihoods += other.log_likelihoods

    def count(self, rows: pa.Table, summary: Summary) -> None:
        good = rows.filter(rows["error"].is_null())
        self.rows += len(rows)
        self.summaries.append(summary)
        self.completion_lengths.update(class_of(n) for n in good["completion_tokens"].to_pylist())
        if "sample" in rows.column_names:
            self.finish_reasons.update(good["finish_reason"].to_pylist())
            rows = rows.filter(pc.equal(rows["sample"], 0))
        else:
            self.log_likelihoods.append(math.fsum(good["log_likelihood"].to_pylist()))
        first = rows["prompt_tokens"].to_pylist()
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
        baseline: the base model's, for the column that ``BASELINES`` names.
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
                rows = _with_baseline(rows, baseline, base_rows, base_shards, shard)
            tally.count(rows, Summary.model_validate(summary))
            writer = writer or pq.ParquetWriter(path, rows.schema, filesystem=filesystem)
            writer.write_table(rows)
    finally:
        if writer is not None:
            writer.close()
    return tally


def _with_baseline(
    rows: pa.Table, baseline: Answers, base_rows: PromptRows, done: list[Shard], shard: Shard
) -> pa.Table:
    """A shard's rows with what the base model, whose shards are ``done``, made of the same prompts."""
    column = next(name for name in BASELINES if name in rows.column_names)
    keys = [name for name in ("position", "sample") if name in rows.column_names]
    first, last = base_rows.first_place(shard.start), base_rows.first_place(shard.stop)
    made: dict[Any, Any] = {}
    for theirs in done:
        if theirs.start < last and theirs.stop > first:
            table, _ = baseline.read(theirs)
            made |= dict(zip(_tuples(table, keys), table[BASELINES[column]].to_pylist(), strict=True))
    at = rows.schema.get_field_index(column)
    values = [made.get(key) for key in _tuples(rows, keys)]
    return rows.set_column(at, rows.schema.field(at), pa.array(values, rows.schema.field(at).type))


def _tuples(table: pa.Table, names: list[str]) -> list[tuple[Any, ...]]:
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))
