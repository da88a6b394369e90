"""Passages that may repeat each other: equal fingerprints, shared bands. Ids and keys are looked at, never a text.

In a bucket of k texts each is paired with the smallest id and with its neighbour in the order of ids: at most 2 k pairs
where all of them would be k (k - 1) / 2.
"""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from etl.dedup.minhash import runs

MOST_HERE = 500_000  # passages whose signatures the driver takes, 150 bytes each; shuffles take 25 s for 790,000


class Collisions(NamedTuple):
    """Three frames of ids; the last two may not have been computed yet."""

    repeated: DataFrame | None  # ``_id``: ids that several rows have, each once; None where there are none
    copies: DataFrame  # ``first, second``: a star per fingerprint, from its smallest id to each of the others
    pairs: DataFrame  # ``first, second``, distinct, first < second: they share a band, neither is a copy's second


def collisions(signed: DataFrame) -> Collisions:
    """What collides among signatures: in the driver where they are few, else by shuffles. Both give the same rows.

    Args:
        signed: ``_id long, fingerprint binary, keys array<long>`` and more, persisted; as many keys in every row that
            has any.
    """
    return _here(signed) if signed.count() <= MOST_HERE else _shuffled(signed)


def _shuffled(signed: DataFrame) -> Collisions:
    copies = exact_links(signed).persist()
    repeated = repeated_ids(copies).localCheckpoint()
    distinct = signed.join(copies.selectExpr("second AS _id"), "_id", "left_anti")
    return Collisions(None if repeated.isEmpty() else repeated, copies, band_pairs(distinct))


def exact_links(signed: DataFrame) -> DataFrame:
    """Of each fingerprint the smallest id and every other row's: ``first, second``."""
    order = Window.partitionBy("fingerprint").orderBy("_id")
    return (
        signed.select("_id", "fingerprint")
        .withColumn("first", F.first("_id").over(order))
        .withColumn("_rank", F.row_number().over(order))
        .where("_rank > 1")
        .select("first", F.col("_id").alias("second"))
    )


def repeated_ids(copies: DataFrame) -> DataFrame:
    """The values of ``_id`` that several rows have, each once: their texts are equal, so exact links tell."""
    ids = copies.select("second").union(copies.where("first = second").select("second"))
    return ids.groupBy("second").count().where("count > 1").selectExpr("second AS _id")


def band_pairs(signed: DataFrame) -> DataFrame:
    """Pairs of ids that share a band: ``first, second``, distinct."""
    keys = signed.select(F.col("_id").alias("id"), F.explode("keys").alias("key"))
    bucket = Window.partitionBy("key").orderBy("id")
    others = F.array_distinct(F.array(F.first("id").over(bucket), F.lag("id").over(bucket)))
    seen = keys.select("id", others.alias("others")).select(F.explode("others").alias("first"), "id")
    return seen.where("first < id").select("first", F.col("id").alias("second")).distinct()


def _here(signed: DataFrame) -> Collisions:
    table = signed.select("_id", "fingerprint", "keys").toArrow().combine_chunks().sort_by("_id")
    ids, prints, lists = (column.combine_chunks() for column in table.columns)
    ids = ids.to_numpy()
    halves = np.frombuffer(b"".join(prints.to_pylist()), np.uint64).reshape(-1, 2)
    order, starts = _buckets(halves[:, 0], halves[:, 1])
    rest = np.arange(len(ids)) > starts
    first, second = ids[order[starts]], ids[order]
    again = second[1:][rest[1:] & (second[1:] == second[:-1])]
    copies = _frame(signed, first=first[rest], second=second[rest])
    repeated = _frame(signed, _id=np.unique(again)) if len(again) else None

    looked_at = lists.value_lengths().to_numpy() > 0
    looked_at[order[rest]] = False
    ids, keys = ids[looked_at], lists.filter(pa.array(looked_at)).flatten().to_numpy()
    bands = len(keys) // max(len(ids), 1)
    return Collisions(repeated, copies, _frame(signed, **_band_pairs(ids, keys.reshape(len(ids), bands))))


def _buckets(*keys: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Rows in the order of keys, equal ones as they were, and for each place in it the place where its key begins."""
    order = np.lexsort(keys)
    begins = runs(*(key[order] for key in keys))
    return order, np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))


def _band_pairs(ids: np.ndarray[Any, Any], keys: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """``ids`` ascend; ``keys`` has a row an id and a column a band. Sorted band by band: a band takes little memory."""
    firsts, seconds = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for band in keys.T:
        order, starts = _buckets(band)
        members, place = ids[order], np.arange(len(ids))
        rest = place > starts
        firsts += [members[starts[rest]], members[place[rest] - 1]]
        seconds += [members[rest]] * 2
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    order = np.lexsort((second, first))
    first, second = first[order], second[order]
    new = runs(first, second) & (first < second)
    return {"first": first[new], "second": second[new]}


def _frame(like: DataFrame, **columns: np.ndarray[Any, Any]) -> DataFrame:
    return like.sparkSession.createDataFrame(pa.table({name: pa.array(c, pa.int64()) for name, c in columns.items()}))
