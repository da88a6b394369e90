"""Passages that may repeat each other: equal fingerprints, shared bands. Ids and keys are looked at, never a text.

In a bucket of k texts each is paired with the smallest id and with its neighbour in the order of ids: at most 2 k pairs
where all of them would be k (k - 1) / 2.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from etl.minhash import runs

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

MOST_HERE = 500_000  # passages whose signatures the driver takes, 150 bytes each; the shuffles of 60,000 take 4 s more


class Collisions(NamedTuple):
    """Three frames of ids; the last two may not have been computed yet."""

    repeated: "DataFrame | None"  # ``_id``: ids that several rows have, each once; None where there are none
    copies: "DataFrame"  # ``first, second``: a star per fingerprint, from its smallest id to each of the others
    pairs: "DataFrame"  # ``first, second``, distinct, first < second: they share a band, neither is a copy's second


def collisions(signed: "DataFrame") -> Collisions:
    """What collides among signatures: in the driver where they are few, else by shuffles. Both give the same rows.

    Args:
        signed: ``_id long, fingerprint binary, keys array<long>`` and more, persisted; as many keys in every row that
            has any.
    """
    return _here(signed) if signed.count() <= MOST_HERE else _shuffled(signed)


def _shuffled(signed: "DataFrame") -> Collisions:
    copies = exact_links(signed).persist()
    repeated = repeated_ids(copies).localCheckpoint()
    distinct = signed.join(copies.selectExpr("second AS _id"), "_id", "left_anti")
    return Collisions(None if repeated.isEmpty() else repeated, copies, band_pairs(distinct))


def exact_links(signed: "DataFrame") -> "DataFrame":
    """Of each fingerprint the smallest id and every other row's: ``first, second``."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    order = Window.partitionBy("fingerprint").orderBy("_id")
    return (
        signed.select("_id", "fingerprint")
        .withColumn("first", F.first("_id").over(order))
        .withColumn("_rank", F.row_number().over(order))
        .where("_rank > 1")
        .select("first", F.col("_id").alias("second"))
    )


def repeated_ids(copies: "DataFrame") -> "DataFrame":
    """The values of ``_id`` that several rows have, each once: their texts are equal, so exact links tell."""
    ids = copies.select("second").union(copies.where("first = second").select("second"))
    return ids.groupBy("second").count().where("count > 1").selectExpr("second AS _id")


def band_pairs(signed: "DataFrame") -> "DataFrame":
    """Pairs of ids that share a band: ``first, second``, distinct."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    keys = signed.select(F.col("_id").alias("id"), F.explode("keys").alias("key"))
    bucket = Window.partitionBy("key").orderBy("id")
    others = F.array_distinct(F.array(F.first("id").over(bucket), F.lag("id").over(bucket)))
    seen = keys.select("id", others.alias("others")).select(F.explode("others").alias("first"), "id")
    return seen.where("first < id").select("first", F.col("id").alias("second")).distinct()


def _here(signed: "DataFrame") -> Collisions:
    table = signed.select("_id", "fingerprint", "keys").toArrow().combine_chunks()
    ids, prints, lists = (column.combine_chunks() for column in table.columns)
    ids = ids.to_numpy()
    halves = np.frombuffer(b"".join(prints.to_pylist()), np.uint64).reshape(-1, 2)
    order, starts = _buckets(ids, halves[:, 0], halves[:, 1])
    rest = np.ones(len(ids), bool)
    rest[starts] = False
    first, second = ids[order[starts]], ids[order]
    again = second[1:][rest[1:] & (second[1:] == second[:-1])]
    copies = _frame(signed, first=first[rest], second=second[rest])
    repeated = _frame(signed, _id=np.unique(again)) if len(again) else None

    distinct = np.ones(len(ids), bool)
    distinct[order[rest]] = False
    owners = np.repeat(ids, np.where(distinct, lists.value_lengths().to_numpy(), 0))
    keys = lists.filter(pa.array(distinct)).flatten().to_numpy()
    return Collisions(repeated, copies, _frame(signed, **_band_pairs(owners, keys)))


def _buckets(ids: "np.ndarray[Any, Any]", *keys: "np.ndarray[Any, Any]") -> "tuple[np.ndarray[Any, Any], ...]":
    """Rows in the order of keys and ids, and for each place in it the place where its key begins."""
    order = np.lexsort((ids, *keys))
    begins = runs(*(key[order] for key in keys))
    return order, np.maximum.accumulate(np.where(begins, np.arange(len(ids)), 0))


def _band_pairs(owners: "np.ndarray[Any, Any]", keys: "np.ndarray[Any, Any]") -> "dict[str, np.ndarray[Any, Any]]":
    order, starts = _buckets(owners, keys)
    members = owners[order]
    place = np.arange(len(members))
    rest = place > starts
    first = np.concatenate([members[starts[rest]], members[place[rest] - 1]])
    second = np.tile(members[rest], 2)
    order = np.lexsort((second, first))
    first, second = first[order], second[order]
    new = runs(first, second) & (first < second)
    return {"first": first[new], "second": second[new]}


def _frame(like: "DataFrame", **columns: "np.ndarray[Any, Any]") -> "DataFrame":
    return like.sparkSession.createDataFrame(pa.table({name: pa.array(c, pa.int64()) for name, c in columns.items()}))
