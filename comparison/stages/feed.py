"""Feeding: two training workers read all documents in batches of 256.

For the first 64 batches each takes 10 ms for a step: a sleep, as a host sleeps while its accelerator computes. What a feeder
prepares meanwhile is no stall. The rest they take as fast as it comes: the highest rate. The
output is the id and the length of each row that a worker got, so that a row dropped or given twice shows.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from comparison.form import Form, Stage, Work
from comparison.stages import oracles
from comparison.stages.shared.feeding import BATCH, SPARK_TOLD, WORKERS, consume, figures, share_of


def spark_barrier(work: Work) -> dict[str, float]:
    """Spark reads, deals the rows out to two partitions, and a barrier stage runs a worker on each."""
    output, begun = work.output, time.monotonic()

    def worker(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import BarrierTaskContext

        context = BarrierTaskContext.get()
        context.barrier()
        cut = (batch.slice(n, BATCH) for batch in batches for n in range(0, len(batch), BATCH))
        yield consume(cut, output, context.partitionId())

    rows = work.spark.read.parquet(work.documents).select("document_id", "text").repartition(WORKERS)
    return figures(begun, rows.mapInArrow(worker, SPARK_TOLD, barrier=True).toArrow())


def spark_files(work: Work) -> dict[str, float]:
    """Spark only places the workers: in a barrier stage each reads its share of the files with pyarrow."""
    documents, output, begun = work.documents, work.output, time.monotonic()

    def worker(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import BarrierTaskContext

        context = BarrierTaskContext.get()
        context.barrier()
        yield consume(share_of(documents, context.partitionId()), output, context.partitionId())

    places = work.spark.range(0, WORKERS, 1, WORKERS)
    return figures(begun, places.mapInArrow(worker, SPARK_TOLD, barrier=True).toArrow())


def ray_streaming_split(work: Work) -> dict[str, float]:
    """Ray Data streams blocks to two actors, whoever has fewer rows; ``equal`` would drop the rest of them."""
    import ray

    output, begun = work.output, time.monotonic()
    rows = ray.data.read_parquet(
        work.documents,
        columns=["document_id", "text"],
        override_num_blocks=max(4 * work.cores, int(work.megabytes / 2)) if work.tuned else None,
    )

    @ray.remote(num_cpus=0)  # the workers' cores are those that read: with a slot each, nothing could be read
    def worker(shard: ray.data.DataIterator, number: int) -> pa.RecordBatch:
        return consume(shard.iter_batches(batch_size=BATCH, batch_format="pyarrow"), output, number)

    shards = rows.streaming_split(WORKERS, equal=False)
    return figures(begun, pa.Table.from_batches(ray.get([worker.remote(s, n) for n, s in enumerate(shards)])))


def python_readers(work: Work) -> dict[str, float]:
    """Two processes, each with its share of the row groups."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    begun = time.monotonic()
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn")) as pool:
        told = list(pool.map(_read, [(work.documents, work.output, n) for n in range(WORKERS)]))
    return figures(begun, pa.Table.from_batches(told))


def _read(place: tuple[str, Path, int]) -> pa.RecordBatch:
    documents, output, worker = place
    return consume(share_of(documents, worker), output, worker)


STAGE = Stage(
    name="feed",
    title="Feed two training workers",
    question="How soon do two workers get their first batch, and how much of their time do they wait for the next?",
    forms=(
        Form("spark", "barrier", spark_barrier, kernel="consume", tunable=False),
        Form("spark", "files", spark_files, kernel="consume", tunable=False),
        Form("ray", "streaming_split", ray_streaming_split, kernel="consume"),
        Form("python", "readers", python_readers, kernel="consume", tunable=False),
    ),
    oracle=oracles.fed,
)
