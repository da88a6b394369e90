"""Shards: ranges of rows that are answered and written as one, each a file that is there as a whole or not at all."""

import json
import re
from dataclasses import dataclass
from math import ceil
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from handoff.working import Working
from inference.config import InferenceConfig

_NAME = re.compile(r"(\d{12})-(\d{12})\.parquet")
SHARDS_PER_ACTOR = 16  # at least, where there are rows enough: a kill costs each replica one at most, 6 % of its work

LEAST_ROWS = 128  # where there are so many: with fewer at once, rows of like length are few and batches small


@dataclass(frozen=True, order=True)
class Shard:
    """Rows at the places from ``start`` to before ``stop``."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def name(self) -> str:
        return f"{self.start:012d}-{self.stop:012d}"


def shard_rows(rows: int, config: InferenceConfig) -> int:
    """Rows of a shard, as even as can be, so that no replica waits for another's last one.

    At most ``window_rows``; so many shards that a kill costs little; no smaller than a batch should be.
    """
    wanted = min(max(ceil(rows / (SHARDS_PER_ACTOR * config.num_actors)), LEAST_ROWS), config.window_rows)
    rounds = ceil(rows / (config.num_actors * wanted))
    return ceil(rows / (config.num_actors * rounds))


@dataclass(frozen=True)
class Answers:
    """One model's answers under way.

    Attributes:
        working: where they are kept until the artifact is published.
        directory: the model's part of that place.
    """

    working: Working
    directory: str

    def done(self) -> list[Shard]:
        """Shards that are written, in order and apart from each other, whatever sizes earlier attempts had."""
        names = (_NAME.fullmatch(name) for name in self.working.names(f"{self.directory}/rows"))
        found = sorted((Shard(int(m[1]), int(m[2])) for m in names if m), key=lambda s: (s.start, -s.stop))
        kept: list[Shard] = []
        for shard in found:
            if not kept or shard.start >= kept[-1].stop:
                kept.append(shard)
        return kept

    def write(self, shard: Shard, rows: pa.Table, summary: dict[str, Any]) -> None:
        """Write a shard's rows, and a summary of them beside."""
        sink = pa.BufferOutputStream()
        metadata = {**(rows.schema.metadata or {}), b"summary": json.dumps(summary).encode()}
        pq.write_table(rows.replace_schema_metadata(metadata), sink)
        self.working.write(f"{self.directory}/rows/{shard.name}.parquet", sink.getvalue().to_pybytes())

    def read(self, shard: Shard) -> tuple[pa.Table, dict[str, Any]]:
        """A shard's rows and their summary."""
        filesystem, path = self.working.locate(f"{self.directory}/rows/{shard.name}.parquet")
        with pq.ParquetFile(path, filesystem=filesystem) as file:
            table = file.read()
        return table.replace_schema_metadata(None), json.loads(file.schema_arrow.metadata[b"summary"])

    def summary(self, shard: Shard) -> dict[str, Any]:
        """A shard's summary, from the file's footer."""
        filesystem, path = self.working.locate(f"{self.directory}/rows/{shard.name}.parquet")
        with pq.ParquetFile(path, filesystem=filesystem) as file:
            summary: dict[str, Any] = json.loads(file.schema_arrow.metadata[b"summary"])
        return summary

    def forget(self, shard: Shard) -> None:
        """Remove a shard's rows: the next attempt answers them anew."""
        self.working.remove(f"{self.directory}/rows/{shard.name}.parquet")


def remaining(done: list[Shard], rows: int, size: int) -> list[Shard]:
    """The rows that no shard has, in shards of at most ``size``, cut at its multiples."""
    todo: list[Shard] = []
    at = 0
    for shard in [*done, Shard(rows, rows)]:
        while at < shard.start:
            stop = min((at // size + 1) * size, shard.start)
            todo.append(Shard(at, stop))
            at = stop
        at = max(at, shard.stop)
    return todo
