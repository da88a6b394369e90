"""Removing repeated passages. Exact ones here; each method is a DataFrame → DataFrame step that sets ``reason``."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

EXACT = "exact_duplicate"


def fingerprint(text: "Column") -> "Column":
    """SHA-256 (hex) of the text in lower case with every run of punctuation and white space as one blank."""
    from pyspark.sql import functions as F

    return F.sha2(F.trim(F.regexp_replace(F.lower(text), r"[\p{P}\p{S}\s]+", " ")), 256)


def mark_exact(passages: "DataFrame") -> "DataFrame":
    """Of the passages with equal fingerprints keep the one with the smallest (doc_id, position), over all splits.

    Rows that have a reason already take no part. ``passages`` is used twice: persist it.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    out_of_play = passages.where(F.col("reason").isNotNull())
    rank = F.row_number().over(Window.partitionBy("_key").orderBy("doc_id", "position", "row_id"))
    ranked = (
        passages.where(F.col("reason").isNull())
        .withColumn("_key", fingerprint(F.col("text")))
        .withColumn("reason", F.when(rank > 1, EXACT))
        .drop("_key")
    )
    return ranked.unionByName(out_of_play)
