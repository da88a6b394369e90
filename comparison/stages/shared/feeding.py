"""A training worker that is fed: its loop, its share of the files, and the figures of all workers together."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from comparison.digest import files

WORKERS, BATCH, STEP_SECONDS = 2, 256, 0.01
STEPS = 64  # of a worker that take STEP_SECONDS; beyond them it takes batches as fast as they come
TOLD = pa.schema(
    [
        ("first", pa.float64()), ("stepped", pa.float64()), ("last", pa.float64()), ("stalled", pa.float64()),
        ("rows", pa.int64()), ("fast_rows", pa.int64()),
    ]
)  # fmt: skip
SPARK_TOLD = "first double, stepped double, last double, stalled double, rows long, fast_rows long"


def consume(batches: Iterable[pa.RecordBatch], output: Path, worker: int) -> pa.RecordBatch:
    """A worker's loop; writes what it got, and returns one row of ``TOLD``.

    Monotonic seconds of the first batch, of the end of the last step that took ``STEP_SECONDS``, and of the end; seconds
    spent waiting between those steps; rows, and those after the steps, which are taken as fast as they come.
    """
    got: list[pa.Table] = []
    first = stepped = stalled = 0.0
    asked = time.monotonic()
    for number, batch in enumerate(batches):
        now = time.monotonic()
        if not number:
            first = now
        elif number < STEPS:
            stalled += now - asked
        got.append(pa.table([batch["document_id"], pc.utf8_length(batch["text"])], names=["document_id", "characters"]))
        if number < STEPS:
            time.sleep(STEP_SECONDS)
            stepped = time.monotonic()
        asked = time.monotonic()
    output.mkdir(parents=True, exist_ok=True)
    if got:
        pq.write_table(pa.concat_tables(got), output / f"worker-{worker}.parquet")
    told = {
        "first": first or asked, "stepped": stepped or asked, "last": asked, "stalled": stalled,
        "rows": sum(map(len, got)), "fast_rows": sum(map(len, got[STEPS:])),
    }  # fmt: skip
    return pa.RecordBatch.from_pylist([told], TOLD)


def share_of(documents: str, worker: int) -> Iterator[pa.RecordBatch]:
    """A worker's share of the row groups, read with pyarrow in batches."""
    groups = [(path, n) for path in files(Path(documents)) for n in range(pq.ParquetFile(path).num_row_groups)]
    for path, group in groups[worker::WORKERS]:
        yield from pq.ParquetFile(path).iter_batches(BATCH, [group], columns=["document_id", "text"])


def figures(begun: float, told: pa.Table) -> dict[str, float]:
    """Of the slowest worker's first batch, of the waiting between steps, and of the rate without steps where rows are left."""
    first, stepped, last, rows, fast = (
        told[name].to_numpy() for name in ("first", "stepped", "last", "rows", "fast_rows")
    )
    found = {
        "first_batch_seconds": float(first.max() - begun),
        "stall_share": float(told["stalled"].to_numpy().sum() / max((stepped - first).sum(), 1e-9)),
        "fewest_rows_share": float(rows.min() / rows.sum()),
    }
    if fast.sum():
        found["highest_rows_per_second"] = float(fast.sum() / (last.max() - stepped.min()))
    return found
