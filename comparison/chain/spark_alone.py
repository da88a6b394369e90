"""The chain in Spark alone: SQL; TorchDistributor in a barrier stage; ``predict_batch_udf``."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from comparison.chain.clock import Clock
from comparison.chain.completer import Completer, prompts_of
from comparison.chain.dying import an_executor_dies
from comparison.chain.settings import BATCH_ROWS, Chain
from comparison.chain.told import tell
from comparison.chain.worker import ReadByRank, deal_of, passages_of, train_rank
from comparison.digest import files
from comparison.form import Work
from comparison.stages.clean import cleaned_in_sql
from comparison.stages.shared.tables import CODEC, read_spark
from training.data.ingest import BlockFeeder, Cursor


def run(work: Work) -> dict[str, float]:
    """All three parts in the session that there is."""
    chain = Chain.of(work).fresh()
    clock = Clock(chain.retries)
    rows = clock.timed("etl", etl, work, chain, chain.rows)
    clock.timed("train", train, chain, rows)
    predictions = clock.timed("predict", predict, work.spark, chain, rows)
    clock.timed("compare", tell, chain, rows, predictions, work.output)
    return clock.figures


def etl(work: Work, chain: Chain, directory: Path) -> list[str]:
    """Clean, filter, drop exact duplicates, order all rows; returns the files in order."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    cleaned = cleaned_in_sql(read_spark(work, work.documents, "document_id", "text"))
    first = F.row_number().over(Window.partitionBy("text").orderBy("document_id")) == 1
    row_id = F.col("document_id").cast("string")
    key = F.sha2(F.concat(F.lit(f"{work.seed}:"), row_id), 256)
    rows = cleaned.withColumn("first", first).where("first").orderBy(key)
    columns = row_id.alias("row_id"), row_id.alias("doc_id"), F.lit(0).alias("position"), "text"
    with an_executor_dies(chain.mark("etl"), work.spark):
        rows.select(*columns).write.option("compression", CODEC).parquet(str(directory), mode="overwrite")
    return [str(path) for path in files(directory)]


def train(chain: Chain, rows: list[str]) -> None:
    """One barrier task for each rank; a rank that dies fails the job."""
    from pyspark.ml.torch.distributor import TorchDistributor

    distributor = TorchDistributor(chain.training.num_workers, local_mode=False, use_gpu=False)
    distributor.run(train_in_task, chain, rows)


def train_in_task(chain: Chain, rows: list[str]) -> None:
    """Body of a rank under torchrun; it reads and tokenises the rows itself and takes its own part of each step."""
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
            batch = pa.table({"id": ids.tolist(), "prompt": prompts.tolist()})
            return np.array(completer(batch)["completion"].to_pylist(), dtype=object)

        return complete

    udf = predict_batch_udf(load, return_type=StringType(), batch_size=BATCH_ROWS)
    # As many copies of the model as Ray has actors, and the same batches: a batch of other rows rounds otherwise.
    prompts = spark.createDataFrame(prompts_of(chain, rows)).coalesce(chain.inference.num_actors)
    return prompts.select("id", udf("id", "prompt").alias("completion")).toArrow()
