"""A device that one caller at a time can use, emulated by a lock; and a CPU stage that takes a known time of a core.

With both lengths known, so is the least time that any engine needs: the longer of the device's time and the CPU's over
all cores. The CPU stage really computes; the device sleeps, as a host's thread does while its accelerator works.
"""

import fcntl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from comparison.form import Work

DEVICE_SECONDS = 60.0
ROWS_PER_SECOND, MOST_ROWS = 10, 600
BATCH = 4  # rows that the device takes at a time
CPU_SHARE = 0.8  # of the device's time that all cores together need for their stage
PREPARED = "document_id long, prepared long"
ANSWERED = "document_id long, answer long"


@dataclass(frozen=True)
class Load:
    """The two stages' work.

    Attributes:
        rows: documents, those with ids below it.
        cpu_seconds: of a core, for each row.
        device_seconds: for each row.
        cores: that the CPU stage may use.
        lock: file that whoever uses the device locks.
    """

    rows: int
    cpu_seconds: float
    device_seconds: float
    cores: int
    lock: str

    @classmethod
    def of(cls, work: Work) -> "Load":
        """``work.options["device_seconds"]`` of device time, DEVICE_SECONDS without it, over the first documents."""
        seconds = float(work.options.get("device_seconds", DEVICE_SECONDS))
        rows = min(MOST_ROWS, max(2 * BATCH, int(seconds * ROWS_PER_SECOND)), ds.dataset(work.documents).count_rows())
        each = seconds / rows
        return cls(rows, each * CPU_SHARE * work.cores, each, work.cores, str(work.scratch / "device.lock"))

    def prepare(self, table: pa.Table) -> pa.Table:
        """The CPU stage: rows of ``document_id`` and ``text`` → ``PREPARED``."""
        prepared = [self._hashed(text.encode()) for text in table["text"].to_pylist()]
        return pa.table([table["document_id"], pa.array(prepared, pa.int64())], names=["document_id", "prepared"])

    def _hashed(self, text: bytes) -> int:
        end, digest = time.thread_time() + self.cpu_seconds, blake2b(text, digest_size=7).digest()
        while time.thread_time() < end:
            blake2b(text)
        return int.from_bytes(digest, "big")

    def answer(self, table: pa.Table) -> pa.Table:
        """The device's stage: ``PREPARED`` → ``ANSWERED``; waits until the device is free."""
        if len(table):
            with open(self.lock, "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                time.sleep(self.device_seconds * len(table))
        answers = pa.array([value // 2 for value in table["prepared"].to_pylist()], pa.int64())
        return pa.table([table["document_id"], answers], names=["document_id", "answer"])

    def figures(self, begun: float) -> dict[str, float]:
        """The device's time, its share of that since ``begun`` (monotonic), and the least possible seconds."""
        device = self.rows * self.device_seconds
        bound = max(device, self.rows * self.cpu_seconds / self.cores)
        return {"device_seconds": device, "device_share": device / (time.monotonic() - begun), "bound_seconds": bound}


def cut(table: pa.Table) -> list[pa.Table]:
    """A table in the device's batches."""
    return [table.slice(first, BATCH) for first in range(0, len(table), BATCH)]


def below(table: pa.Table, rows: int) -> pa.Table:
    """Rows whose ``document_id`` is below ``rows``."""
    return table.filter(pc.less(table["document_id"], rows))


def first_rows(work: Work, load: Load) -> Any:
    """Spark's frame of the documents; tuned, in a partition for each core."""
    rows = work.spark.read.parquet(work.documents).select("document_id", "text").where(f"document_id < {load.rows}")
    return rows.repartition(work.cores) if work.tuned else rows


def each(kernel: Callable[[pa.Table], pa.Table]) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A kernel on tables as ``mapInArrow`` wants it."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield from kernel(pa.Table.from_batches([batch])).to_batches()

    return run


def write(work: Work, answers: list[pa.Table]) -> None:
    """Write what one process has answered."""
    work.output.mkdir(parents=True)
    pq.write_table(pa.concat_tables(answers), work.output / "part-00000.parquet")
