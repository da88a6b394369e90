"""How much of each source training takes: shares and caps, drawn by the seed after de-duplication."""

from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.config import CorpusConfig, SourceConfig
from handoff.errors import ConfigError
from handoff.job import log

LEFT_OUT = "beyond_share_of_source"
BUCKETS = 1024  # of a hash of the row. Whole buckets of a source are taken, so that a cap needs no sort


def source_of(config: CorpusConfig) -> Column:
    """The name of the source that a document belongs to; empty where there is one source only."""
    return F.substring_index("doc_id", "/", 1) if config.more_sources else F.lit("")


def mark_beyond_share(marked: DataFrame, config: CorpusConfig) -> DataFrame:
    """Set ``reason`` of train passages that exceed their source's share or cap.

    The draw depends on the row alone: while a source's share stays the same, the same passages are taken.

    Args:
        marked: ``doc_id, text, row_id, reason, split`` and more, persisted; rows that have a reason do not count.

    Raises:
        ConfigError: a cap is smaller than the least that can be taken.
    """
    limited = [source for source in config.sources if source.share < 1 or source.max_mib is not None]
    if not limited:
        return marked
    bucket = F.pmod(F.xxhash64("row_id", F.lit(config.seed), F.lit("mixture")), F.lit(BUCKETS))
    placed = marked.withColumn("_source", source_of(config)).withColumn("_bucket", bucket)
    train = F.col("reason").isNull() & (F.col("split") == "train")
    sizes = placed.where(train).groupBy("_source", "_bucket").agg(F.sum(F.octet_length("text")).alias("bytes"))
    found: dict[str, dict[int, int]] = {}
    for row in sizes.collect():
        found.setdefault(row["_source"], {})[row["_bucket"]] = row["bytes"]
    beyond = F.lit(False)
    for source in limited:
        name = (source.name or "") if config.more_sources else ""
        taken = buckets_taken(source, found.get(name, {}))
        log.info("  %s: %.1f %% of its training passages are taken", name or "source", 100 * taken / BUCKETS)
        beyond = beyond | ((F.col("_source") == name) & (F.col("_bucket") >= taken))
    reason = F.coalesce("reason", F.when(train & beyond, LEFT_OUT))
    return placed.withColumn("reason", reason).drop("_source", "_bucket")


def buckets_taken(source: SourceConfig, sizes: dict[int, int]) -> int:
    """How many buckets, from the first, stay within share and cap.

    Args:
        sizes: bytes of text per bucket.
    """
    most = max(1, int(source.share * BUCKETS))
    if source.max_mib is None:
        return most
    size = 0
    for bucket in range(most):
        if size + sizes.get(bucket, 0) > source.max_mib * (1 << 20):
            if not size:
                raise ConfigError(
                    f"max_mib of source {source.name or source.uri} is {source.max_mib}, less than the least that can "
                    f"be taken of it. Remedy: raise it to {sizes[bucket] / (1 << 20):.4f} or more"
                )
            return bucket
        size += sizes.get(bucket, 0)
    return most


def table(marked: DataFrame, config: CorpusConfig) -> list[dict[str, Any]]:
    """Of each source, where there are several: ``name``, kept ``passages`` and ``text_bytes``, ``dropped`` passages."""
    if not config.more_sources:
        return []
    kept = F.col("reason").isNull()
    sums = marked.groupBy(source_of(config).alias("name")).agg(
        F.count_if(kept).alias("passages"),
        F.coalesce(F.sum(F.when(kept, F.octet_length("text"))), F.lit(0)).alias("text_bytes"),
        F.count_if(~kept).alias("dropped"),
    )
    return [row.asDict() for row in sums.orderBy("name").collect()]
