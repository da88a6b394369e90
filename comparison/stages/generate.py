"""Batch inference: the first 16 tokens of one document in 256 are continued by the 16 most probable ones."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from comparison.form import Form, Stage, Work
from comparison.stages.shared.inference import (
    BATCH,
    Model,
    loaded,
    python_rows,
    ray_actors,
    ray_rows,
    spark_rows,
    with_lists,
)
from comparison.stages.shared.model import model_of

SHARE = 256


def spark_predict_batch_udf(work: Work) -> None:
    """Spark's own function for inference: NumPy batches of a fixed size, the model loaded once per Python worker."""
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql.types import ArrayType, IntegerType

    directory = str(model_of(work))

    def make() -> Any:
        return lambda texts: loaded(directory, 1, exact=True).complete(list(texts))

    complete = predict_batch_udf(make, return_type=ArrayType(IntegerType()), batch_size=BATCH)
    rows = spark_rows(work, SHARE)
    rows.select("document_id", complete("text").alias("tokens")).write.parquet(str(work.output))


def spark_map_in_pandas(work: Work) -> None:
    """A generator over pandas frames, which cuts its own batches."""
    directory = str(model_of(work))

    def complete(frames: Iterator[Any]) -> Iterator[Any]:
        for frame in frames:
            for first in range(0, len(frame), BATCH):
                part = frame.iloc[first : first + BATCH]
                tokens = loaded(directory, 1, exact=True).complete(part["text"].tolist())
                yield part[["document_id"]].assign(tokens=list(tokens))

    rows = spark_rows(work, SHARE).mapInPandas(complete, "document_id long, tokens array<int>")
    rows.write.parquet(str(work.output))


class Completer:
    """An actor that loads the model as it starts."""

    def __init__(self, directory: str, threads: int = 1) -> None:
        self._model = Model(directory, threads, exact=True)

    def __call__(self, table: pa.Table) -> pa.Table:
        return with_lists(table, "tokens", self._model.complete(table["text"].to_pylist()))


def ray_actor_pool(work: Work) -> None:
    """A pool of actors, each with the model."""
    completed = ray_rows(work, SHARE).map_batches(
        Completer, fn_constructor_args=(str(model_of(work)),), **ray_actors(work)
    )
    completed.write_parquet(str(work.output))


def ray_tasks(work: Work) -> None:
    """Tasks whose worker processes keep the model, as Spark's Python workers do."""
    directory = str(model_of(work))

    def complete(table: pa.Table) -> pa.Table:
        return with_lists(table, "tokens", loaded(directory, 1, exact=True).complete(table["text"].to_pylist()))

    rows = ray_rows(work, SHARE).map_batches(complete, batch_size=BATCH, batch_format="pyarrow")
    rows.write_parquet(str(work.output))


def python_loop(work: Work) -> None:
    """One process, whose torch takes all cores."""
    complete, rows = Completer(str(model_of(work)), work.cores), python_rows(work, SHARE)
    work.output.mkdir(parents=True)
    parts = [complete(rows.slice(first, BATCH)) for first in range(0, len(rows), BATCH)]
    pq.write_table(pa.concat_tables(parts), work.output / "part-00000.parquet")


STAGE = Stage(
    name="generate",
    title="Generate text",
    question="How fast does a small model continue the beginning of one document in 256, its loading included?",
    forms=(
        Form("spark", "predict_batch_udf", spark_predict_batch_udf, kernel="Model"),
        Form("spark", "map_in_pandas", spark_map_in_pandas, kernel="Model"),
        Form("ray", "actor_pool", ray_actor_pool, kernel="Model"),
        Form("ray", "tasks", ray_tasks, kernel="Model"),
        Form("python", "loop", python_loop, kernel="Model", tunable=False),
    ),
)
