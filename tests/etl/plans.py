"""The corpus stage's physical plans, before adaptive execution; each ends where its result is persisted."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from etl import layout, split
from etl.config import CorpusConfig, SourceConfig
from etl.dedup import collisions, duplicates
from etl.dedup.components import _large_star, _small_star
from etl.job import prepare
from etl.read.source import resolved
from handoff.schema import CORPUS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def plans(spark: "SparkSession", directory: Path) -> dict[str, "DataFrame"]:
    """The frames that the stage computes, in its order, over a directory with a text file."""
    from pyspark.sql.functions import col, lit

    (directory / "a.txt").write_text("Shall I compare thee to a summer's day?")
    config = CorpusConfig(source=SourceConfig(uri=f"{directory}/*.txt"))
    with resolved(config.source, directory) as source:
        passages = prepare(spark, [source], config)
    schema = "doc_id string, position int, text string, row_id string, reason string"
    rows = spark.createDataFrame([("a", 0, "to be", "0", None)], schema)
    assigned = split.assign(rows, config.split, 0)
    numbered = assigned.withColumns({"_id": duplicates.passage_id(assigned.row_id), "_rank": lit(0)})
    signed = duplicates.signatures(numbered, config.dedup)
    ids = spark.createDataFrame([(1,)], "id long")
    verdicts = spark.createDataFrame(
        [(1, "near_duplicate", 2, 0)], "_id long, _verdict string, _cluster long, _kept_in int"
    )
    narrow = spark.createDataFrame(
        [(1, 0, "a", 0, "0", b"0", [1])],
        "_id long, _held int, doc_id string, position int, row_id string, fingerprint binary, keys array<long>",
    )
    stars = spark.createDataFrame([(2, 1)], "node long, root long")
    ordered = layout.ordered(assigned.select(*CORPUS.names), 2, config.seed, [col("text").cast("string")])
    return {
        "read, clean, redact, cut, judge": passages,
        "splits": assigned,
        "signatures": signed,
        "exact copies": collisions.exact_links(narrow),
        "candidate pairs": collisions.band_pairs(narrow),
        "texts of candidates": numbered.select(col("_id").alias("id"), "text").join(
            duplicates.broadcast_if_small(ids, 1), "id", "left_semi"
        ),
        "large star, small star": _small_star(_large_star(stars)),
        "verdicts": duplicates.with_verdicts(numbered, duplicates.broadcast_if_small(verdicts, 1)),
        "write": ordered,
    }


def operators(frame: "DataFrame") -> list[str]:
    """Names of a physical plan's operators, such as ``Exchange`` and ``BroadcastExchange``, the last one first."""
    lines = frame._jdf.queryExecution().executedPlan().toString().splitlines()  # type: ignore[operator]
    return [found.group(1) for line in lines if (found := re.match(r"[ :+-]*(?:\*\(\d+\) )?(\w+)", line))]
