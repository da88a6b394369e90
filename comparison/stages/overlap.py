"""Do CPU and device work at the same time? A CPU stage on all cores, then a device that serves one caller at a time."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pyarrow as pa
import pyarrow.dataset as ds

from comparison.form import Form, Stage, Work
from comparison.stages.shared.device import ANSWERED, BATCH, PREPARED, Load, below, cut, each, first_rows, write

SLICES = 12  # jobs of the form with one copy


def spark_staged(work: Work) -> dict[str, float]:
    """All of the CPU stage on all cores, then one task with the device: one copy of the model, and no overlap."""
    begun, load, between = time.monotonic(), Load.of(work), str(work.scratch / "prepared")
    rows = first_rows(work, load).mapInArrow(each(load.prepare), PREPARED)
    rows.write.mode("overwrite").parquet(between)
    answers = work.spark.read.parquet(between).coalesce(1).mapInArrow(each(load.answer), ANSWERED)
    answers.write.parquet(str(work.output))
    return load.figures(begun)


def spark_threads(work: Work) -> dict[str, float]:
    """A task for each core: it prepares a batch while a thread of it has the device. A copy of the model in each."""
    begun, load = time.monotonic(), Load.of(work)

    def both(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with ThreadPoolExecutor(1) as device:
            pending: list[Future[pa.Table]] = []
            for batch in batches:
                for part in cut(pa.Table.from_batches([batch])):
                    pending.append(device.submit(load.answer, load.prepare(part)))
                    while pending[0].done() and len(pending) > 1:
                        yield from pending.pop(0).result().to_batches()
            for last in pending:
                yield from last.result().to_batches()

    first_rows(work, load).mapInArrow(both, ANSWERED).write.parquet(str(work.output))
    return load.figures(begun)


def spark_one_copy(work: Work) -> dict[str, float]:
    """The driver has the device and the model's one copy; while it answers a slice, a job prepares the next one."""
    begun, load = time.monotonic(), Load.of(work)
    rows, size = first_rows(work, load).cache(), -(-load.rows // SLICES)

    def prepared(first: int) -> pa.Table:
        part = rows.where(f"document_id >= {first} and document_id < {first + size}")
        return part.mapInArrow(each(load.prepare), PREPARED).toArrow()

    with ThreadPoolExecutor(1) as ahead:
        slices = [ahead.submit(prepared, first) for first in range(0, load.rows, size)]
        answers = [load.answer(part) for one in slices for part in cut(one.result())]
    rows.unpersist()
    write(work, answers)
    return load.figures(begun)


def ray_streaming(work: Work) -> dict[str, float]:
    """Tasks prepare blocks while one actor has the device; Ray Data streams from these to that."""
    import ray

    begun, load = time.monotonic(), Load.of(work)
    rows = ray.data.read_parquet(work.documents, columns=["document_id", "text"])
    if work.tuned:  # else Ray reserves so much for the operators behind that one of two cores prepares nothing
        rows.context.op_resource_reservation_enabled = False
    first = rows.map_batches(lambda table: below(table, load.rows), batch_format="pyarrow")
    blocks = first.repartition(load.rows // BATCH) if work.tuned else first
    prepared = blocks.map_batches(load.prepare, batch_format="pyarrow", batch_size=None)
    answered = prepared.map_batches(
        Device,
        fn_constructor_args=(load,),
        batch_format="pyarrow",
        batch_size=BATCH,
        compute=ray.data.ActorPoolStrategy(size=1),
        num_cpus=0,  # the actor's host waits for its device: all cores stay with the tasks
    )
    answered.write_parquet(str(work.output), min_rows_per_file=load.rows)
    return load.figures(begun)


class Device:
    """The actor with the device."""

    def __init__(self, load: Load) -> None:
        self._load = load

    def __call__(self, table: pa.Table) -> pa.Table:
        return self._load.answer(table)


def python_pool(work: Work) -> dict[str, float]:
    """The bound, as near as plain processes come: one for each core prepares, this one has the device."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    begun, load = time.monotonic(), Load.of(work)
    rows = below(ds.dataset(work.documents).to_table(columns=["document_id", "text"]), load.rows)
    with ProcessPoolExecutor(work.cores, multiprocessing.get_context("spawn")) as pool:
        answers = [load.answer(prepared) for prepared in pool.map(load.prepare, cut(rows))]
    write(work, answers)
    return load.figures(begun)


STAGE = Stage(
    name="overlap",
    title="CPU stage before one device",
    question="What part of its time does one device work while all cores prepare its input?",
    forms=(
        Form("spark", "staged", spark_staged, kernel="Load"),
        Form("spark", "threads", spark_threads, kernel="Load"),
        Form("spark", "one_copy", spark_one_copy, kernel="Load"),
        Form("ray", "streaming", ray_streaming, kernel="Load"),
        Form("python", "pool", python_pool, kernel="Load", tunable=False),
    ),
    scales=False,
)
