"""Put all rows in one seeded random order, by the SHA-256 of seed and id, and write them so that files keep it.

The key is the same text on each engine, so the order is too: what training needs to read as a plain stream.
"""

import hashlib

import pyarrow as pa

from comparison.form import Form, Stage, Work
from comparison.stages import oracles
from comparison.stages.shared.tables import (
    blocks_in_order,
    in_ray,
    read_polars,
    read_ray,
    read_spark,
    write_polars,
    write_ray,
    write_spark,
)

COLUMNS = ("document_id", "source", "text")


def keys_of(ids: pa.Array, seed: int) -> pa.Array:
    """Hexadecimal SHA-256 of ``seed:id`` for each id."""
    return pa.array([hashlib.sha256(f"{seed}:{n}".encode()).hexdigest() for n in ids.to_pylist()], pa.string())


def spark_sql(work: Work) -> None:
    from pyspark.sql import functions as F

    key = F.sha2(F.concat(F.lit(f"{work.seed}:"), F.col("document_id").cast("string")), 256)
    write_spark(read_spark(work, work.documents, *COLUMNS).orderBy(key), work)


def ray_sort(work: Work) -> None:
    seed = work.seed

    def with_key(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.append_column("key", keys_of(batch["document_id"], seed))

    with blocks_in_order():
        keyed = read_ray(work, work.documents, *COLUMNS).map_batches(in_ray(with_key), batch_format="pyarrow")
        write_ray(keyed.sort("key").drop_columns(["key"]), work)


def polars(work: Work) -> None:
    import polars as pl

    documents = read_polars(work.documents).collect()
    keys = pl.from_arrow(keys_of(documents["document_id"].to_arrow(), work.seed))
    write_polars(documents.lazy().with_columns(key=keys).sort("key").drop("key"), work)


STAGE = Stage(
    name="order",
    title="Seeded global order",
    question="How fast is a total order of all rows, written so that training can stream it?",
    forms=(
        Form("spark", "sql", spark_sql),
        Form("ray", "sort", ray_sort, kernel="keys_of"),
        Form("polars", "one process", polars, kernel="keys_of", tunable=False),
    ),
    compared="ordered",
    oracle=oracles.ordered,
)
