"""Aggregate per source: every text is read, a few numbers of it are kept, and two dozen groups come out."""

import pyarrow as pa
import pyarrow.compute as pc

from comparison.form import Form, Stage, Work
from comparison.stages import oracles
from comparison.stages.shared.tables import (
    in_ray,
    read_polars,
    read_ray,
    read_spark,
    write_polars,
    write_ray,
    write_spark,
)


def measured(batch: pa.RecordBatch) -> pa.RecordBatch:
    """``source, characters, words`` of ``source, text``."""
    characters = pc.utf8_length(batch["text"]).cast(pa.int64())
    words = pc.add(pc.count_substring(batch["text"], " ").cast(pa.int64()), 1)
    return pa.record_batch({"source": batch["source"], "characters": characters, "words": words})


def spark_sql(work: Work) -> None:
    from pyspark.sql import functions as F

    words = F.octet_length("text") - F.octet_length(F.replace("text", F.lit(" "), F.lit(""))) + 1
    documents = read_spark(work, work.documents).select(
        "source", F.length("text").alias("characters"), words.alias("words")
    )
    totals = documents.groupBy("source").agg(
        F.count("*").alias("documents"), F.sum("characters").alias("characters"), F.sum("words").alias("words"),
        F.min("characters").cast("long").alias("shortest"), F.max("characters").cast("long").alias("longest"),
    )  # fmt: skip
    write_spark(totals, work)


def ray_groupby(work: Work) -> None:
    from ray.data.aggregate import Count, Max, Min, Sum

    documents = read_ray(work, work.documents, "source", "text").map_batches(in_ray(measured), batch_format="pyarrow")
    groups = documents.groupby("source", num_partitions=work.cores if work.tuned else None)
    totals = groups.aggregate(
        Count(alias_name="documents"), Sum("characters", alias_name="characters"), Sum("words", alias_name="words"),
        Min("characters", alias_name="shortest"), Max("characters", alias_name="longest"),
    )  # fmt: skip
    write_ray(totals, work)


def polars(work: Work) -> None:
    import polars as pl

    characters = pl.col("text").str.len_chars().cast(pl.Int64)
    words = pl.col("text").str.count_matches(" ", literal=True).cast(pl.Int64) + 1
    totals = read_polars(work.documents).group_by("source").agg(
        documents=pl.len().cast(pl.Int64), characters=characters.sum(), words=words.sum(),
        shortest=characters.min(), longest=characters.max(),
    )  # fmt: skip
    write_polars(totals, work)


STAGE = Stage(
    name="aggregate",
    title="Aggregate per source",
    question="How fast does an engine read everything and keep little?",
    forms=(
        Form("spark", "sql", spark_sql),
        Form("ray", "groupby", ray_groupby),
        Form("polars", "one process", polars, tunable=False),
    ),
    oracle=oracles.aggregated,
)
