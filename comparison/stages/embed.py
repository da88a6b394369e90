"""Batch inference: one document in 16 becomes an embedding, the mean hidden state of its first 64 tokens."""

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

SHARE = 16


def spark_predict_batch_udf(work: Work) -> None:
    """Spark's own function for inference: NumPy batches of a fixed size, the model loaded once per Python worker."""
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql.types import ArrayType, FloatType

    directory = str(model_of(work))

    def make() -> Any:
        return lambda texts: loaded(directory, 1).embed(list(texts))

    embed = predict_batch_udf(make, return_type=ArrayType(FloatType()), batch_size=BATCH)
    rows = spark_rows(work, SHARE)
    rows.select("document_id", embed("text").alias("embedding")).write.parquet(str(work.output))


def spark_map_in_pandas(work: Work) -> None:
    """A generator over pandas frames, which cuts its own batches."""
    directory = str(model_of(work))

    def embed(frames: Iterator[Any]) -> Iterator[Any]:
        for frame in frames:
            for first in range(0, len(frame), BATCH):
                part = frame.iloc[first : first + BATCH]
                vectors = loaded(directory, 1).embed(part["text"].tolist())
                yield part[["document_id"]].assign(embedding=list(vectors))

    rows = spark_rows(work, SHARE).mapInPandas(embed, "document_id long, embedding array<float>")
    rows.write.parquet(str(work.output))


class Embedder:
    """An actor that loads the model as it starts."""

    def __init__(self, directory: str, threads: int = 1) -> None:
        self._model = Model(directory, threads)

    def __call__(self, table: pa.Table) -> pa.Table:
        return with_lists(table, "embedding", self._model.embed(table["text"].to_pylist()))


def ray_actor_pool(work: Work) -> None:
    """A pool of actors, each with the model."""
    embedded = ray_rows(work, SHARE).map_batches(
        Embedder, fn_constructor_args=(str(model_of(work)),), **ray_actors(work)
    )
    embedded.write_parquet(str(work.output))


def ray_tasks(work: Work) -> None:
    """Tasks whose worker processes keep the model, as Spark's Python workers do."""
    directory = str(model_of(work))

    def embed(table: pa.Table) -> pa.Table:
        return with_lists(table, "embedding", loaded(directory, 1).embed(table["text"].to_pylist()))

    rows = ray_rows(work, SHARE).map_batches(embed, batch_size=BATCH, batch_format="pyarrow")
    rows.write_parquet(str(work.output))


def python_loop(work: Work) -> None:
    """One process, whose torch takes all cores."""
    embed, rows = Embedder(str(model_of(work)), work.cores), python_rows(work, SHARE)
    work.output.mkdir(parents=True)
    parts = [embed(rows.slice(first, BATCH)) for first in range(0, len(rows), BATCH)]
    pq.write_table(pa.concat_tables(parts), work.output / "part-00000.parquet")


STAGE = Stage(
    name="embed",
    title="Embed documents",
    question="How fast does a small model turn one document in 16 into an embedding, its loading included?",
    forms=(
        Form("spark", "predict_batch_udf", spark_predict_batch_udf, kernel="Model"),
        Form("spark", "map_in_pandas", spark_map_in_pandas, kernel="Model"),
        Form("ray", "actor_pool", ray_actor_pool, kernel="Model"),
        Form("ray", "tasks", ray_tasks, kernel="Model"),
        Form("python", "loop", python_loop, kernel="Model", tunable=False),
    ),
    compared="close",
    tolerance=1e-5,
)
