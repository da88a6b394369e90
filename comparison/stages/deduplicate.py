"""Drop exact copies of a text and keep the one of the smallest id: one shuffle by a wide key.

Each engine can shuffle the texts themselves, or their digests with the ids; the ids of the copies are then sent to all, and the texts read once more.
"""

import hashlib

import pyarrow as pa
import pyarrow.compute as pc

from comparison.form import Form, Stage, Work
from comparison.stages import oracles
from comparison.stages.shared.tables import (
    collected,
    in_ray,
    read_polars,
    read_ray,
    read_spark,
    shuffled,
    write_polars,
    write_ray,
    write_spark,
)


def first_of_each(table: pa.Table, key: str) -> pa.Table:
    """The rows of the smallest ``document_id`` for each value of a column."""
    return table.filter(_is_first(table, key))


def copies_of_each(table: pa.Table, key: str) -> pa.Table:
    """All other rows."""
    return table.filter(pc.invert(_is_first(table, key)))


def _is_first(table: pa.Table, key: str) -> pa.ChunkedArray:
    kept = table.select([key, "document_id"]).group_by(key).aggregate([("document_id", "min")])
    return pc.is_in(table["document_id"], kept["document_id_min"])


def digests(batch: pa.RecordBatch) -> pa.RecordBatch:
    """``document_id`` and the SHA-256 of ``text``."""
    found = [hashlib.sha256(text.as_buffer()).digest() for text in batch["text"]]
    return pa.record_batch({"document_id": batch["document_id"], "digest": pa.array(found, pa.binary(32))})


def spark_texts(work: Work) -> None:
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    first = F.row_number().over(Window.partitionBy("text").orderBy("document_id")) == 1
    documents = read_spark(work, work.documents)
    write_spark(documents.withColumn("_first", first).where("_first").drop("_first"), work)


def spark_digests(work: Work) -> None:
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    documents = read_spark(work, work.documents)
    copy = F.row_number().over(Window.partitionBy("digest").orderBy("document_id")) > 1
    small = documents.select("document_id", F.unhex(F.sha2("text", 256)).alias("digest"))
    copies = small.withColumn("copy", copy).where("copy").select("document_id")
    write_spark(documents.join(F.broadcast(copies), "document_id", "left_anti"), work)


def ray_texts(work: Work) -> None:
    documents = shuffled(read_ray(work, work.documents), work, "text")
    first = documents.map_batches(first_of_each, fn_args=("text",), batch_size=None, batch_format="pyarrow")
    write_ray(first, work)


def ray_digests(work: Work) -> None:
    small = read_ray(work, work.documents, "document_id", "text").map_batches(in_ray(digests), batch_format="pyarrow")
    copies = shuffled(small, work, "digest").map_batches(
        copies_of_each, fn_args=("digest",), batch_size=None, batch_format="pyarrow"
    )
    _write_without(collected(copies.select_columns(["document_id"])), work)


def spark_driver(work: Work) -> None:
    """Digests go to the driver, which finds the copies; their ids go back to all, and the texts are read once more."""
    from pyspark.sql import functions as F

    documents = read_spark(work, work.documents)
    small = documents.select("document_id", F.unhex(F.sha2("text", 256)).alias("digest")).toArrow()
    ids = copies_of_each(small, "digest").select(["document_id"])
    copies = work.spark.createDataFrame(ids, "document_id long")
    write_spark(documents.join(F.broadcast(copies), "document_id", "left_anti"), work)


def ray_driver(work: Work) -> None:
    """The same."""
    small = read_ray(work, work.documents, "document_id", "text").map_batches(in_ray(digests), batch_format="pyarrow")
    _write_without(copies_of_each(collected(small), "digest").select(["document_id"]), work)


def _write_without(copies: pa.Table, work: Work) -> None:
    import ray

    ids = ray.put(copies)

    def without_copies(documents: pa.Table) -> pa.Table:
        return documents.filter(pc.invert(pc.is_in(documents["document_id"], ray.get(ids)["document_id"])))

    write_ray(read_ray(work, work.documents).map_batches(without_copies, batch_format="pyarrow"), work)


def polars(work: Work) -> None:
    import polars as pl

    first = pl.col("document_id") == pl.col("document_id").min().over("text")
    write_polars(read_polars(work.documents).filter(first), work)


STAGE = Stage(
    name="deduplicate",
    title="Exact de-duplication",
    question="How fast is one shuffle by a wide key, as texts or as digests?",
    forms=(
        Form("spark", "texts", spark_texts),
        Form("spark", "digests", spark_digests),
        Form("spark", "driver", spark_driver, sources=(copies_of_each,), kernel="first_of_each"),
        Form("ray", "texts", ray_texts, kernel="first_of_each"),
        Form("ray", "digests", ray_digests, sources=(_write_without,), kernel="first_of_each"),
        Form("ray", "driver", ray_driver, sources=(_write_without,), kernel="first_of_each"),
        Form("polars", "one process", polars, tunable=False),
    ),
    oracle=oracles.deduplicated,
)
