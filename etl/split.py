"""Which documents go to train, validation and test: whole groups, by name or by a seeded hash."""

import fnmatch

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from etl.config import SplitConfig
from handoff.errors import ConfigError

SPLITS = ("train", "validation", "test")
HASH_STEPS = 1 << 20  # resolution of the fractions


def check_pattern(spark: SparkSession, pattern: str | None) -> None:
    """Let Java compile the group pattern: what Python accepts, Java may refuse with a Spark error."""
    if pattern is not None:
        spark.range(1).select(F.regexp_extract(F.lit(""), pattern, 1)).collect()


def group_of(doc_id: Column, pattern: str | None) -> Column:
    """The key of the group that a document belongs to: the pattern's first group, or the whole id without a match."""
    if pattern is None:
        return doc_id
    return F.when(F.rlike(doc_id, F.lit(pattern)), F.regexp_extract(doc_id, pattern, 1)).otherwise(doc_id)


def matches(doc_id: Column, globs: tuple[str, ...]) -> Column:
    """Whether any of the globs matches the whole id."""
    found = F.lit(False)
    for glob in globs:
        found = found | F.rlike(doc_id, F.lit(rf"\A{fnmatch.translate(glob)}"))
    return found


def named_groups(passages: DataFrame, config: SplitConfig) -> DataFrame:
    """Groups with a document that is named for a split: ``_group, _named``; test wins over validation."""
    doc_id = F.col("doc_id")
    named = F.when(matches(doc_id, config.test_documents), 2).when(matches(doc_id, config.validation_documents), 1)
    groups = passages.select(group_of(doc_id, config.group_pattern).alias("_group"), named.alias("_named"))
    return groups.where(F.col("_named").isNotNull()).groupBy("_group").agg(F.max("_named").alias("_named"))


def assign(passages: DataFrame, config: SplitConfig, seed: int) -> DataFrame:
    """Add ``split``. A group goes where one of its documents is named, else where its hash falls.

    The hash is of the group and the seed alone, so that a group stays in its split whatever else is in the corpus.
    """
    grouped = passages.withColumn("_group", group_of(F.col("doc_id"), config.group_pattern))
    if config.validation_documents or config.test_documents:
        grouped = grouped.join(F.broadcast(named_groups(passages, config)), "_group", "left")
    else:
        grouped = grouped.withColumn("_named", F.lit(None).cast("int"))
    place = F.pmod(F.xxhash64("_group", F.lit(seed)), F.lit(HASH_STEPS)) / HASH_STEPS
    drawn = F.when(place < config.test_fraction, "test").when(
        place < config.test_fraction + config.validation_fraction, "validation"
    )
    named = F.when(F.col("_named") == 2, "test").when(F.col("_named") == 1, "validation")
    return grouped.withColumn("split", F.coalesce(named, drawn, F.lit("train"))).drop("_group", "_named")


def check_splits(rows: dict[str, int], config: SplitConfig, globs_hit: dict[str, bool]) -> None:
    """Check the rows per split against the configuration.

    Args:
        rows: kept rows per split.
        globs_hit: per configured glob, whether any document's id matches it.

    Raises:
        ConfigError: a glob that names no document; an asked-for split, or train, without a row.
    """
    missed = [glob for glob, hit in globs_hit.items() if not hit]
    if missed:
        raise ConfigError(
            f"no document's id matches {', '.join(map(repr, missed))}. Remedy: correct corpus.split.*_documents "
            "(an id is a text file's name with its extension, or the id column's value)"
        )
    for split, fraction, globs in (
        ("validation", config.validation_fraction, config.validation_documents),
        ("test", config.test_fraction, config.test_documents),
    ):
        if (fraction > 0 or globs) and not rows.get(split):
            raise ConfigError(
                f"the {split} split came out empty. Remedy: raise corpus.split.{split}_fraction (now {fraction}), name "
                f"{split}_documents whose passages are kept, add documents, or set the fraction to 0"
            )
    if not rows.get("train"):
        raise ConfigError(
            "the train split came out empty. Remedy: lower the fractions or narrow the *_documents globs of corpus.split"
        )
