"""Baton's cleaning of the benchmark's documents, as a process of its own: Spark's start is part of the time.

Usage: python -m bench.clean_side DOCS OUT CORES HEAP. Writes ``id, text`` to OUT/cleaned as Parquet. Mojibake is not
repaired, because DuckDB's SQL cannot do it; Baton would repair two of 605,459 generated documents.
"""

import sys
from pathlib import Path

from bench.spark import start
from etl.config import CleaningConfig
from etl.transforms import clean


def main(docs: str, out: str, cores: int, heap: str) -> None:
    from pyspark.sql import functions as F

    spark = start(Path(out), cores, heap, docs)
    documents = spark.read.schema("id string, text string").json(docs)
    cleaned = clean(documents.withColumn("reason", F.lit(None).cast("string")), CleaningConfig(repair_mojibake=False))
    cleaned.select("id", "text").write.option("compression", "zstd").parquet(f"{out}/cleaned")
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
