"""Candidate pairs of duplicates: equal fingerprints, shared bands. Only ids and keys are read, never a text.

In a bucket of k texts each is paired with the smallest id and with its neighbour in the order of ids. That is at most
2 k pairs; all pairs would be k (k - 1) / 2.
"""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from etl.dedup.minhash import runs

MOST_ON_DRIVER = 500_000  # passages, 150 bytes each on the driver; shuffles take 25 s for 790,000


class Collisions(NamedTuple):
    """Three frames of ids; the last two may not have been computed yet."""

    repeated: DataFrame | None  # ``_id``: ids of more than one row, each once; None if there are none
    copies: DataFrame  # ``first, second``: a star per fingerprint, from its smallest id to each of the others
    pairs: (
        DataFrame  # ``first, second``, distinct, first < second: they share a band, and neither is the second of a copy
    )


def collisions(signed: DataFrame) -> Collisions:
    """Find the collisions of signatures: on the driver if they are few, else by shuffles. Both give the same rows.

    Args:
        signed: ``_id long, fingerprint binary, keys array<long>`` and more, persisted; every row has the same
            number of keys, or none.
    """
    return _on_driver(signed) if signed.count() <= MOST_ON_DRIVER else _by_shuffles(signed)


def _by_shuffles(signed: DataFrame) -> Collisions:
    copies = exact_links(signed).persist()
    repeated = repeated_ids(copies).localCheckpoint()
    distinct = signed.join(copies.selectExpr("second AS _id"), "_id", "left_anti")
    return Collisions(None if repeated.isEmpty() else repeated, copies, band_pairs(distinct))


def exact_links(signed: DataFrame) -> DataFrame:
    """For each fingerprint its smallest id with the id of every other row: ``first, second``."""
    order = Window.partitionBy("fingerprint").orderBy("_id")
    return (
        signed.select("_id", "fingerprint")
        .withColumn("first", F.first("_id").over(order))
        .withColumn("_rank", F.row_number().over(order))
        .where("_rank > 1")
        .select("first", F.col("_id").alias("second"))
    )


def repeated_ids(copies: DataFrame) -> DataFrame:
    """The values of ``_id`` that more than one row has, each once. Their texts are equal, so exact links show them."""
    ids = copies.select("second").union(copies.where("first = second").select("second"))
    return ids.groupBy("second").count().where("count > 1").selectExpr("second AS _id")


def band_pairs(signed: DataFrame) -> DataFrame:
    """Pairs of ids that share a band: ``first, second``, distinct."""
    keys = signed.select(F.col("_id").alias("id"), F.explode("keys").alias("key"))
    bucket = Window.partitionBy("key").orderBy("id")
    others = F.array_distinct(F.array(F.first("id").over(bucket), F.lag("id").over(bucket)))
    seen = keys.select("id", others.alias("others")).select(F.explode("others").alias("first"), "id")
    return seen.where("first < id").select("first", F.col("id").alias("second")).distinct()


def _on_driver(signed: DataFrame) -> Collisions:
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
    """A stable order of rows by keys, and for each place in that order the place where its run of equal keys begins."""
    order = np.lexsort(keys)
    begins = runs(*(key[order] for key in keys))
    return order, np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))


def _band_pairs(ids: np.ndarray[Any, Any], keys: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """``ids`` ascend; ``keys`` has a row per id and a column per band. Sorting band by band takes little memory."""
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
