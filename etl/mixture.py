"""How much of each source training takes, and which source a text that several have is kept in.

Shares and caps are drawn by the seed, after de-duplication.
"""

from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.config import CorpusConfig, SourceConfig
from etl.dedup.duplicates import DUPLICATES
from handoff.errors import ConfigError
from handoff.job import log

LEFT_OUT = "beyond_share_of_source"
PLACES = 1 << 40  # of a hash of the row: those below the share's part of them are taken
PIECES = 1024  # into which a cap divides the places of its source, twice: it needs no sort, and is met to a millionth
MIB = 1 << 20


def source_of(config: CorpusConfig) -> Column:
    """The name of the source that a document belongs to; empty where there is one source only."""
    return F.substring_index("doc_id", "/", 1) if config.more_sources else F.lit("")


def taken_shares(passages: DataFrame, config: CorpusConfig) -> dict[str, float]:
    """The share that training takes of each source at most, by its name: a cap counts as the share that it leaves.

    Args:
        passages: ``doc_id, text, reason, split`` and more, persisted, before duplicates are marked.
    """
    size: dict[str, int] = {}
    if any(source.max_mib for source in config.sources):
        train = passages.where("reason IS NULL AND split = 'train'").groupBy(source_of(config).alias("name"))
        size = {row["name"]: row["bytes"] for row in train.agg(F.sum(F.octet_length("text")).alias("bytes")).collect()}
    shares = {}
    for source in config.sources:
        cap = source.max_mib * MIB / size[source.name or ""] if source.max_mib and size.get(source.name or "") else 1.0
        shares[source.name or ""] = min(source.share, cap)
    return shares


def by_precedence(passages: DataFrame, config: CorpusConfig) -> list[str]:
    """Names of the sources, first the one that keeps a text which others have too: by share, priority, name."""
    if not config.more_sources:
        return []
    shares, priorities = (
        taken_shares(passages, config),
        {source.name or "": source.priority for source in config.sources},
    )
    return sorted(shares, key=lambda name: (-shares[name], -priorities[name], name))


def rank_of(precedence: list[str]) -> Column:
    """The place of a document's source in ``precedence``, as int; 0 where there is one source only."""
    rank, name = F.lit(0), F.substring_index("doc_id", "/", 1)
    for place, source in enumerate(precedence):
        rank = F.when(name == source, place).otherwise(rank)
    return rank


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
    place = F.pmod(F.xxhash64("row_id", F.lit(config.seed), F.lit("mixture")), F.lit(PLACES))
    placed = marked.withColumn("_source", source_of(config)).withColumn("_place", place)
    train = F.col("reason").isNull() & (F.col("split") == "train")
    beyond = F.lit(False)
    for source in limited:
        of_source = F.col("_source") == ((source.name or "") if config.more_sources else "")
        taken = places_taken(placed.where(train & of_source), source)
        log.info("  %s: %.4g %% of its training passages are taken", source.name or "source", 100 * taken / PLACES)
        beyond = beyond | (of_source & (F.col("_place") >= taken))
    reason = F.coalesce("reason", F.when(train & beyond, LEFT_OUT))
    return placed.withColumn("reason", reason).drop("_source", "_place")


def places_taken(rows: DataFrame, source: SourceConfig) -> int:
    """How many places, from the first, stay within share and cap.

    Args:
        rows: ``_place long, text`` of the source's training passages.

    Raises:
        ConfigError: the cap is smaller than what the first piece has.
    """
    low, high = 0, max(1, round(source.share * PLACES))
    if source.max_mib is None:
        return high
    left = source.max_mib * MIB
    full = None
    for _ in range(2):
        width = max(1, (high - low) // PIECES)
        within = rows.where((F.col("_place") >= low) & (F.col("_place") < high))
        piece = F.floor((F.col("_place") - low) / width).alias("piece")
        sizes = within.groupBy(piece).agg(F.sum(F.octet_length("text")).alias("bytes")).orderBy("piece").collect()
        full = None
        for row in sizes:
            if row["bytes"] > left:
                full = row
                break
            left -= row["bytes"]
        if full is None:
            return high
        low, high = low + full["piece"] * width, min(high, low + (full["piece"] + 1) * width)
    assert full is not None  # it was found in the first round, and its parts are as large together
    if left == source.max_mib * MIB:
        raise ConfigError(
            f"max_mib of source {source.name or source.uri} is {source.max_mib}, less than the least that can "
            f"be taken of it. Remedy: raise it to {full['bytes'] / MIB + 0.00005:.4f} or more"
        )
    return low


def table(marked: DataFrame, config: CorpusConfig, precedence: list[str]) -> list[dict[str, Any]]:
    """Of each source, where there are several: what it gave, and what of it was dropped for which reason.

    Returns:
        ``name``, kept ``passages`` and ``text_bytes``, ``dropped`` passages and documents, ``reasons`` (dropped ones
        per reason), ``duplicates_of`` (duplicates by the source that keeps their text).
    """
    if not config.more_sources:
        return []
    found: dict[str, dict[str, Any]] = {
        name: {"name": name, "passages": 0, "text_bytes": 0, "dropped": 0, "reasons": {}, "duplicates_of": {}}
        for name in sorted(precedence)
    }
    sums = marked.groupBy(source_of(config).alias("name"), "reason", "_kept_in").agg(
        F.count("*").alias("rows"), F.coalesce(F.sum(F.octet_length("text")), F.lit(0)).alias("text_bytes")
    )
    for row in sums.orderBy("name", "reason", "_kept_in").collect():
        source = found[row["name"]]
        if row["reason"] is None:
            source["passages"] += row["rows"]
            source["text_bytes"] += row["text_bytes"]
            continue
        source["dropped"] += row["rows"]
        source["reasons"][row["reason"]] = source["reasons"].get(row["reason"], 0) + row["rows"]
        if row["reason"] in DUPLICATES:
            winner = precedence[row["_kept_in"]]
            source["duplicates_of"][winner] = source["duplicates_of"].get(winner, 0) + row["rows"]
    return list(found.values())


def told(source: dict[str, Any]) -> str:
    """What became of a source's passages, in words."""
    lost = {reason: n for reason, n in source["reasons"].items() if reason not in DUPLICATES}
    parts = [f"{n:,} duplicates of {other}" for other, n in source["duplicates_of"].items()]
    parts += [f"{n:,} {reason}" for reason, n in lost.items()]
    return ", ".join([f"{source['passages']:,} passages kept", *parts])
