"""The chain as a relay: Spark, a published corpus, Ray. One engine at a time has the cores and the memory.

Both sessions start within the run, as two jobs of a DAG would: ``start_seconds`` of the figures is their part of it.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from comparison.chain import ray_alone, spark_alone
from comparison.chain.clock import Clock
from comparison.chain.settings import Chain
from comparison.chain.told import tell
from comparison.digest import files
from comparison.engines import session
from comparison.form import Engine, Work
from handoff.artifact import open_artifact
from handoff.publish import describe_in_place, staging
from handoff.schema import CORPUS
from handoff.store import Store
from training.data.ingest import Passages

SPLIT = "train"


def run(work: Work) -> dict[str, float]:
    """Spark makes the rows and ends; Ray opens them, trains and predicts, and ends."""
    chain = Chain.of(work).fresh()
    clock = Clock(chain.retries)
    store = Store(str(chain.scratch / "artifacts"))
    with started("spark", work, clock) as spark:
        published = publish(replace(work, spark=spark), chain, store, clock)
    with started("ray", work, clock):
        corpus = clock.timed("handoff", open_artifact, store, published, schema=CORPUS, split=SPLIT)
        rows = corpus.files(SPLIT)
        clock.timed("train", ray_alone.train, chain, Passages.of_corpus(corpus, SPLIT, chain.tokenizer, 0.0, 1))
        predictions = clock.timed("predict", ray_alone.predict, chain, rows)
    clock.timed("compare", tell, chain, rows, predictions, work.output)
    return clock.figures


def publish(work: Work, chain: Chain, store: Store, clock: Clock) -> str:
    """The rows as a corpus below the raw documents, digests and footers checked; returns its id."""
    with staging(store, "raw", {"documents": work.documents}, []) as place:
        documents = [str(file) for file in files(Path(work.documents))]
        raw = clock.timed("handoff", lambda: place.publish(in_place=list(map(describe_in_place, documents))))
    with staging(store, "corpus", {"seed": work.seed}, [raw]) as place:
        clock.timed("etl", spark_alone.etl, work, chain, Path(place.uri(SPLIT)))
        return clock.timed("handoff", place.publish, schema=CORPUS).id


@contextlib.contextmanager
def started(engine: Engine, work: Work, clock: Clock) -> Iterator[Any]:
    """An engine's session while the block lasts; its start and end count as ``start_seconds``."""
    with contextlib.ExitStack() as stack:
        running = session(
            engine,
            work.cores,
            work.memory_bytes,
            work.tuned,
            work.scratch,
            megabytes=work.megabytes,
            master=work.options.get("spark_master"),
        )
        yield clock.timed("start", stack.enter_context, running)
        clock.timed("start", stack.close)
        if engine == "spark":
            clock.timed("start", end_jvm)


def end_jvm() -> None:
    """End Spark's JVM: after ``stop()`` it would keep its heap, which Ray is to have."""
    from pyspark import SparkContext

    gateway = SparkContext._gateway
    assert gateway is not None
    gateway.shutdown()
    gateway.proc.stdin.close()  # the JVM ends when its input does
    gateway.proc.wait(60)
    SparkContext._gateway = SparkContext._jvm = None
