"""The chain in Spark alone: SQL; TorchDistributor in a barrier stage; ``predict_batch_udf``."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from comparison.chain.clock import Clock
from comparison.chain.completer import Completer, prompts_of
from comparison.chain.settings import Chain
from comparison.chain.told import tell
from comparison.chain.worker import ReadByRank, deal_of, passages_of, train_rank
from comparison.digest import files
from comparison.form import Work
from training.data.ingest import BlockFeeder, Cursor


def run(work: Work) -> dict[str, float]:
    """All three parts in the session that there is."""
    chain, clock = Chain.of(work), Clock()
    shutil.rmtree(chain.scratch, ignore_errors=True)
    with clock.part("etl"):
        rows = etl(work, work.spark, chain.rows)
    with clock.part("train"):
        train(work.spark, chain, rows)
    with clock.part("predict"):
        predictions = predict(work.spark, chain, rows)
    with clock.part("compare"):
        tell(chain, rows, predictions, work.output)
    return clock.figures


def etl(work: Work, spark: Any, directory: Path) -> list[str]:
    """Clean, filter, drop exact duplicates, order all rows; returns the files in order."""
    from pyspark.sql import functions as F

    text = F.regexp_replace("text", r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", "")
    text = F.trim(F.regexp_replace(text, r"[ \t\r\n]+", " "))
    cleaned = spark.read.parquet(work.documents).select("document_id", text.alias("text")).where("length(text) >= 200")
    unique = cleaned.groupBy("text").agg(F.min("document_id").alias("document_id"))
    key = F.sha2(F.concat(F.lit(f"{work.seed}\0"), F.col("document_id").cast("string")), 256)
    row_id = F.col("document_id").cast("string")
    rows = unique.orderBy(key).select(
        row_id.alias("row_id"), row_id.alias("doc_id"), F.lit(0).cast("int").alias("position"), "text"
    )
    rows.write.parquet(str(directory), mode="append")
    return [str(path) for path in files(directory)]


def train(spark: Any, chain: Chain, rows: list[str]) -> None:
    """One barrier task for each rank; a rank that dies fails the job."""
    from pyspark.ml.torch.distributor import TorchDistributor

    distributor = TorchDistributor(chain.training.num_workers, local_mode=False, use_gpu=False)
    distributor.run(train_in_task, chain, rows)


def train_in_task(chain: Chain, rows: list[str]) -> None:
    """Body of a rank under torchrun; it reads and tokenises the rows itself and takes its own part of each step."""
    import os

    rank = int(os.environ["RANK"])

    def feed(begin: int, cursor: Cursor) -> Any:
        feeder = BlockFeeder(passages_of(chain, rows, ReadByRank), deal_of(chain), begin, cursor)
        return lambda step: [feeder.share(step, r) for r in range(chain.training.num_workers)][rank]

    train_rank(chain, rank, feed)


def predict(spark: Any, chain: Chain, rows: list[str]) -> pa.Table:
    """Completions of the prompts: columns id and completion."""
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql.types import StringType

    def load() -> Any:
        completer = Completer(chain)

        def complete(ids: np.ndarray, prompts: np.ndarray) -> np.ndarray:
            batch = pa.table({"id": ids.tolist(), "prompt": prompts.tolist(), "source": ["rows"] * len(ids)})
            return np.array(completer(batch)["completion"].to_pylist(), dtype=object)

        return complete

    udf = predict_batch_udf(load, return_type=StringType(), batch_size=chain.inference.batch_size)
    prompts = spark.createDataFrame(prompts_of(chain, rows))
    return prompts.select("id", udf("id", "prompt").alias("completion")).toArrow()
