"""Near-duplicates by Spark MLlib's MinHashLSH on the benchmark's documents, as a process of its own.

Usage: python -m bench.mllib_side DOCS OUT CORES HEAP. Writes the kept documents to OUT/kept as JSON lines. Words,
n-grams, threshold and connected components are Baton's; MLlib has no connected components.
"""

import sys
from pathlib import Path

from bench.spark import start
from etl.dedup.components import components
from etl.dedup.config import DedupConfig
from etl.dedup.duplicates import normalised, passage_id

TABLES = 5  # one hash each: a pair of Jaccard 0.8 meets in one of them with probability 0.9997
FEATURES = 1 << 20


def main(docs: str, out: str, cores: int, heap: str) -> None:
    from pyspark.ml.feature import HashingTF, MinHashLSH, NGram
    from pyspark.sql import functions as F

    config = DedupConfig()
    spark = start(Path(out), cores, heap, docs)
    documents = spark.read.schema("id string, text string").json(docs)
    words = documents.select(
        "id", passage_id(F.col("id")).alias("_id"), F.split(normalised(F.col("text")), " ").alias("words")
    )
    ngrams = NGram(n=config.ngram_words, inputCol="words", outputCol="ngrams").transform(words)
    some = ngrams.where(F.size("ngrams") > 0)  # it refuses empty sets
    sets = HashingTF(numFeatures=FEATURES, binary=True, inputCol="ngrams", outputCol="set").transform(some)
    sets = sets.select("_id", "set").persist()
    model = MinHashLSH(numHashTables=TABLES, seed=1, inputCol="set", outputCol="hashes").fit(sets)
    near = model.approxSimilarityJoin(sets, sets, 1 - config.min_jaccard, "distance")
    links = near.select(F.col("datasetA._id").alias("first"), F.col("datasetB._id").alias("second"))
    roots = components(links.where("first < second"))
    kept = documents.join(roots, passage_id(F.col("id")) == F.col("node"), "left_anti")
    kept.write.json(f"{out}/kept")
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
