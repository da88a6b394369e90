"""Baton's de-duplication on the benchmark's documents, as a process of its own: Spark's start is part of the time.

Usage: python -m bench.baton_side DOCS OUT CORES HEAP. Writes the kept documents to OUT/kept as JSON lines.
"""

import sys
import time
from pathlib import Path

from bench.spark import start
from etl.dedup.config import DedupConfig
from etl.dedup.duplicates import mark_duplicates


def main(docs: str, out: str, cores: int, heap: str) -> None:
    from pyspark.sql import functions as F

    begun = time.monotonic()
    spark = start(Path(out), cores, heap, docs)
    print(f"Spark started after {time.monotonic() - begun:.1f} s", flush=True)
    documents = (
        spark.read.schema("id string, text string")
        .json(docs)
        .select(
            F.col("id").alias("doc_id"),
            F.lit(0).alias("position"),
            "text",
            F.col("id").alias("row_id"),
            F.lit(None).cast("string").alias("reason"),
            F.lit("train").alias("split"),
        )
    )
    marked = mark_duplicates(documents.persist(), DedupConfig())
    marked.where("reason IS NULL").select(F.col("doc_id").alias("id"), "text").write.json(f"{out}/kept")
    print(f"done after {time.monotonic() - begun:.1f} s", flush=True)
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
