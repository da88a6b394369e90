"""The corpus stage's physical plans, an operator a line: ``python -m tests.etl.plans`` writes docs/corpus-plans.txt anew."""

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etl import collisions, dedup, layout, split
from etl.components import _large_star, _small_star
from etl.config import CorpusConfig, SourceConfig
from etl.job import prepare
from etl.session import spark_session
from etl.source import resolved
from handoff.schema import CORPUS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

PLANS = Path(__file__).parents[2] / "docs" / "corpus-plans.txt"
WHY = {
    "read, clean, redact, cut, judge": "one narrow stage; Python reads the files, Spark SQL does the rest",
    "splits": "a hash of the group decides; named documents are broadcast",
    "signatures": "the one Python step over all text, in NumPy",
    "exact copies": "narrow rows by fingerprint; up to half a million passages the driver does it, without a shuffle",
    "candidate pairs": "band keys with ids, then distinct pairs of ids; in the driver as well where signatures are few",
    "texts of candidates": "their ids are sent to the text, up to a million; beyond that both are shuffled",
    "large star, small star": "one round, of pairs of ids: by node, by neighbour, distinct; up to half a million links in the driver",
    "verdicts": "sent to the text as well; beyond a million both are shuffled",
    "write": "the one that moves all text, for the global order",
}


def plans(spark: "SparkSession", directory: Path) -> dict[str, "DataFrame"]:
    """The frames that the stage computes, in its order, over a directory with a text file."""
    from pyspark.sql.functions import col

    (directory / "a.txt").write_text("Shall I compare thee to a summer's day?")
    config = CorpusConfig(source=SourceConfig(uri=f"{directory}/*.txt"))
    with resolved(config.source, directory) as source:
        passages = prepare(spark, [source], config)
    schema = "doc_id string, position int, text string, row_id string, reason string"
    rows = spark.createDataFrame([("a", 0, "to be", "0", None)], schema)
    assigned = split.assign(rows, config.split, 0)
    numbered = assigned.withColumn("_id", dedup.passage_id(assigned.row_id))
    signed = dedup.signatures(numbered, config.dedup)
    ids = spark.createDataFrame([(1,)], "id long")
    verdicts = spark.createDataFrame([(1, "near_duplicate", 2)], "_id long, _verdict string, _cluster long")
    narrow = spark.createDataFrame(
        [(1, 0, "a", 0, "0", b"0", [1])],
        "_id long, _held int, doc_id string, position int, row_id string, fingerprint binary, keys array<long>",
    )
    stars = spark.createDataFrame([(2, 1)], "node long, root long")
    ordered = layout.ordered(assigned.select(*CORPUS.names), 2, config.seed, [col("text").cast("string")])
    frames = (
        passages,
        assigned,
        signed,
        collisions.exact_links(narrow),
        collisions.band_pairs(narrow),
        numbered.select(col("_id").alias("id"), "text").join(dedup.sent(ids, 1), "id", "left_semi"),
        _small_star(_large_star(stars)),
        dedup.with_verdicts(numbered, dedup.sent(verdicts, 1)),
        ordered,
    )
    return dict(zip(WHY, frames, strict=True))


def operators(frame: Any) -> list[str]:
    """Operators of a physical plan, the last one first, indented as Spark does, without what they compute."""
    lines = []
    for line in frame._jdf.queryExecution().executedPlan().toString().splitlines():
        found = re.match(r"([ :+-]*)(?:\*\(\d+\) )?(\w+)", line)
        if found and found.group(2) != "AdaptiveSparkPlan":
            by = re.search(r"^\W*Exchange (\w+)", line)
            lines.append(f"  {found.group(1)}{found.group(2)}{' ' + by.group(1) if by else ''}")
    return lines


def described(spark: "SparkSession", directory: Path) -> str:
    """The text of docs/corpus-plans.txt."""
    parts = ["The corpus stage's plans, before adaptive execution. Each part ends where its result is persisted."]
    for name, frame in plans(spark, directory).items():
        lines = operators(frame)
        shuffles = sum(" Exchange" in line or "-Exchange" in line for line in lines)
        parts.append("\n".join([f"{name}: {shuffles} shuffles. {WHY[name]}", *lines]))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory() as scratch,
        spark_session("plans", f"{scratch}/spark.log", Path(scratch), raw_bytes=0) as session,
    ):
        PLANS.write_text(described(session, Path(scratch)))
