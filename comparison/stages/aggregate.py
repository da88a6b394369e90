"""Aggregate per source: every text is read, a few numbers of it are kept, and two dozen groups come out."""

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
    write_here,
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


def totals_of(rows: pa.Table) -> pa.Table:
    """Counts and lengths per source of ``source, characters, words``, in this process."""
    wanted = [("characters", how) for how in ("count", "sum", "min", "max")]
    found = rows.group_by("source").aggregate([*wanted, ("words", "sum")])
    names = {
        "source": "source", "characters_count": "documents", "characters_sum": "characters", "words_sum": "words",
        "characters_min": "shortest", "characters_max": "longest",
    }  # fmt: skip
    return found.select(list(names)).rename_columns(list(names.values()))


def spark_driver(work: Work) -> None:
    """Executors count, the driver adds up: a few numbers of each text are all that it gets."""
    from pyspark.sql import functions as F

    words = F.octet_length("text") - F.octet_length(F.replace("text", F.lit(" "), F.lit(""))) + 1
    lengths = read_spark(work, work.documents).select(
        "source", F.length("text").cast("long").alias("characters"), words.cast("long").alias("words")
    )
    write_here(totals_of(lengths.toArrow()), work)


def ray_driver(work: Work) -> None:
    """Tasks count, the driver adds up."""
    lengths = read_ray(work, work.documents, "source", "text").map_batches(in_ray(measured), batch_format="pyarrow")
    write_here(totals_of(collected(lengths)), work)


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
        Form("spark", "driver", spark_driver, sources=(totals_of,)),
        Form("ray", "driver", ray_driver, sources=(totals_of,)),
        Form("polars", "one process", polars, tunable=False),
    ),
    oracle=oracles.aggregated,
)
