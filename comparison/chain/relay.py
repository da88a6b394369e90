"""The chain as a relay: Spark, a published corpus, Ray. One engine at a time has the cores and the memory.

Both sessions start within the run, as two jobs of a DAG would: ``start_seconds`` of the figures is their part of it.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from comparison.chain import ray_alone, spark_alone
from comparison.chain.clock import Clock
from comparison.chain.settings import Chain
from comparison.chain.told import tell
from comparison.form import Engine, Work
from comparison.sessions import session
from handoff.artifact import Artifact, open_artifact
from handoff.publish import describe_in_place, staging
from handoff.schema import CORPUS
from handoff.store import Store
from training.data.ingest import Passages

SPLIT = "train"


def run(work: Work) -> dict[str, float]:
    """Spark makes the rows and ends; Ray opens them, trains and predicts, and ends."""
    chain, clock = Chain.of(work), Clock()
    shutil.rmtree(chain.scratch, ignore_errors=True)
    store = Store(str(chain.scratch / "artifacts"))
    with started("spark", work, clock) as spark:
        corpus = publish(work, spark, store, clock)
    with started("ray", work, clock):
        with clock.part("handoff"):
            opened = open_artifact(store, corpus.id, schema=CORPUS, split=SPLIT)
            passages = Passages.of_corpus(opened, SPLIT, chain.tokenizer, 0.0, 1)
        with clock.part("train"):
            ray_alone.train(chain, passages)
        with clock.part("predict"):
            predictions = ray_alone.predict(chain, opened.files(SPLIT))
    with clock.part("compare"):
        tell(chain, opened.files(SPLIT), predictions, work.output)
    return clock.figures


def publish(work: Work, spark: Any, store: Store, clock: Clock) -> Artifact:
    """The rows as a corpus below the raw documents, digests and footers checked."""
    with clock.part("handoff"), staging(store, "raw", {"documents": work.documents}, []) as place:
        documents = sorted(Path(work.documents).glob("*.parquet"))
        raw = place.publish(in_place=[describe_in_place(str(file)) for file in documents])
    with staging(store, "corpus", {"seed": work.seed}, [raw]) as place:
        with clock.part("etl"):
            spark_alone.etl(work, spark, Path(place.uri(SPLIT)))
        with clock.part("handoff"):
            return place.publish(schema=CORPUS)


@contextlib.contextmanager
def started(engine: Engine, work: Work, clock: Clock) -> Iterator[Any]:
    """An engine's session while the block lasts; its start and end count as ``start_seconds``."""
    running = session(engine, work.cores, work.memory_bytes, work.tuned, work.scratch)
    with clock.part("start"):
        spark = running.__enter__()
    try:
        yield spark
    finally:
        with clock.part("start"):
            running.__exit__(None, None, None)
            if engine == "spark":
                end_jvm()


def end_jvm() -> None:
    """End Spark's JVM: after ``stop()`` it would keep its heap, which Ray is to have."""
    from pyspark import SparkContext

    gateway = SparkContext._gateway
    assert gateway is not None
    gateway.shutdown()
    gateway.proc.stdin.close()  # the JVM ends when its input does
    gateway.proc.wait(60)
    SparkContext._gateway = SparkContext._jvm = None
