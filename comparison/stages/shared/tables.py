"""Reading the input tables and writing an output on each engine: the same codec, files and blocks for every stage."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from comparison.form import Work

Kernel = Callable[[pa.RecordBatch], pa.RecordBatch]

CODEC, LEVEL = "zstd", 3  # Spark's own level, which pyarrow and Polars are told
BLOCK_MEGABYTES = 32  # of text in a block of a tuned Ray Data form, as in a task of tuned Spark


def blocks(work: Work) -> int:
    """How many blocks or partitions a tuned form cuts the documents into: whole waves of a task per core."""
    waves = -(-work.megabytes // (work.cores * BLOCK_MEGABYTES))
    return work.cores * max(1, int(waves))


def read_spark(work: Work, path: str, *columns: str) -> Any:
    """A Spark DataFrame of a table; of these columns, or all."""
    table = work.spark.read.parquet(path)
    return table.select(*columns) if columns else table


def write_spark(frame: Any, work: Work) -> None:
    """Write a Spark DataFrame as the output."""
    frame.write.option("compression", CODEC).parquet(str(work.output))


def read_ray(work: Work, path: str, *columns: str) -> Any:
    """A Ray dataset of a table; of these columns, or all. Tuned, it has :func:`blocks` blocks."""
    import ray

    table = ray.data.read_parquet(path, override_num_blocks=blocks(work) if work.tuned else None)
    return table.select_columns(list(columns)) if columns else table


def write_ray(dataset: Any, work: Work) -> None:
    """Write a Ray dataset as the output, a file per block."""
    dataset.write_parquet(str(work.output), compression=CODEC, compression_level=LEVEL)


def shuffled(dataset: Any, work: Work, *keys: str) -> Any:
    """A Ray dataset in which all rows of a key are in one block; Ray's own number of blocks unless tuned."""
    import ray

    default = ray.data.DataContext.get_current().default_hash_shuffle_parallelism
    return dataset.repartition(blocks(work) if work.tuned else default, keys=list(keys))


def write_here(table: pa.Table, work: Work) -> None:
    """Write what the driver holds."""
    work.output.mkdir(parents=True)
    pq.write_table(table, work.output / "part-00000.parquet", compression=CODEC)


def collected(dataset: Any) -> pa.Table:
    """A Ray dataset as a table of this process."""
    import ray

    return pa.concat_tables(ray.get(dataset.to_arrow_refs()))


@contextlib.contextmanager
def blocks_in_order() -> Iterator[None]:
    """Ray datasets made within keep the order of their blocks, also in the names of the files that they write."""
    import ray

    options = ray.data.DataContext.get_current().execution_options
    before, options.preserve_order = options.preserve_order, True
    try:
        yield
    finally:
        options.preserve_order = before


def read_polars(path: str) -> Any:
    """A Polars LazyFrame of a table."""
    import polars as pl

    return pl.scan_parquet(f"{path}/*.parquet")


def write_polars(frame: Any, work: Work) -> None:
    """Run a LazyFrame and write its rows in their order to one file."""
    work.output.mkdir(parents=True)
    frame.sink_parquet(work.output / "part-00000.parquet", compression=CODEC, compression_level=LEVEL)


def in_spark(kernel: Kernel) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The kernel as ``mapInArrow`` takes it."""

    def map_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return map(kernel, batches)

    return map_batches


def in_ray(kernel: Kernel) -> Callable[[pa.Table], pa.Table]:
    """The kernel as ``map_batches`` with ``batch_format="pyarrow"`` takes it: a batch is a chunk of a block."""

    def map_table(table: pa.Table) -> pa.Table:
        batches = table.to_batches() or [pa.RecordBatch.from_pylist([], table.schema)]
        return pa.Table.from_batches([kernel(batch) for batch in batches])

    return map_table
