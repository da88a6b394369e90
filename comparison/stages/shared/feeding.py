"""A training worker that is fed: its loop, its share of the files, and the figures of all workers together."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from comparison.digest import files

WORKERS, BATCH, STEP_SECONDS = 2, 256, 0.01
TOLD = pa.schema([("first", pa.float64()), ("last", pa.float64()), ("stalled", pa.float64()), ("rows", pa.int64())])
SPARK_TOLD = "first double, last double, stalled double, rows long"


def consume(batches: Iterable[pa.RecordBatch], output: Path, worker: int) -> pa.RecordBatch:
    """A worker's loop; writes what it got, and returns one row of ``TOLD``: monotonic seconds of the first batch and of
    the end, seconds spent waiting in between, rows."""
    got: list[pa.Table] = []
    first = stalled = 0.0
    asked = time.monotonic()
    for batch in batches:
        now = time.monotonic()
        first, stalled = (first, stalled + now - asked) if first else (now, 0.0)
        got.append(pa.table([batch["document_id"], pc.utf8_length(batch["text"])], names=["document_id", "characters"]))
        time.sleep(STEP_SECONDS)
        asked = time.monotonic()
    output.mkdir(parents=True, exist_ok=True)
    if got:
        pq.write_table(pa.concat_tables(got), output / f"worker-{worker}.parquet")
    rows = [{"first": first or asked, "last": asked, "stalled": stalled, "rows": sum(map(len, got))}]
    return pa.RecordBatch.from_pylist(rows, TOLD)


def share_of(documents: str, worker: int) -> Iterator[pa.RecordBatch]:
    """A worker's share of the row groups, read with pyarrow in batches."""
    groups = [(path, n) for path in files(Path(documents)) for n in range(pq.ParquetFile(path).num_row_groups)]
    for path, group in groups[worker::WORKERS]:
        yield from pq.ParquetFile(path).iter_batches(BATCH, [group], columns=["document_id", "text"])


def figures(begun: float, told: pa.Table) -> dict[str, float]:
    """Of the slowest worker's first batch, of all rows from the first batch on, and of the waiting meanwhile."""
    first, last, rows = (told[name].to_numpy() for name in ("first", "last", "rows"))
    return {
        "first_batch_seconds": float(first.max() - begun),
        "rows_per_second": float(rows.sum() / (last.max() - first.min())),
        "stall_share": float(told["stalled"].to_numpy().sum() / max((last - first).sum(), 1e-9)),
        "fewest_rows_share": float(rows.min() / rows.sum()),
    }
