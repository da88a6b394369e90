"""A user's fault is told as one: whatever Spark or Py4J wraps is explained by its innermost cause, in one sentence."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from etl.failures import explain, explained
from etl.session import check_connector
from handoff.errors import EXIT_INFRASTRUCTURE, ConfigError, EngineUnavailable, SourceError
from handoff.job import run_stage
from handoff.run_dir import RunDir, StageRecord

Batches = Iterator[pa.RecordBatch]


def worker_raising(error: Exception) -> Callable[[Batches], Batches]:
    def map_batches(batches: Batches) -> Batches:
        for _ in batches:
            raise error
        yield from ()

    return map_batches


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ValueError("an odd value"), RuntimeError, "Spark failed: ValueError: an odd value"),
        (
            SourceError("/in/a.txt cannot be read (x: y): it is damaged. Remedy: fetch it again"),
            SourceError,
            "/in/a.txt cannot be read (x: y): it is damaged. Remedy: fetch it again",
        ),
        (MemoryError("no room"), EngineUnavailable, "Spark ran out of memory. Remedy: give Spark more memory"),
    ],
)
def test_what_a_python_worker_raises(spark: Any, error: Exception, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as raised, explained():
        spark.range(1).mapInArrow(worker_raising(error), "id long").collect()
    assert str(raised.value).startswith(message) and "\n" not in str(raised.value)


def test_a_store_without_its_connector(spark: Any, tmp_path: Path) -> None:
    check_connector(spark, str(tmp_path))
    with (
        pytest.raises(ConfigError, match=r"Class org.apache.hadoop.fs.s3a.S3AFileSystem not found.*SPARK_S3=1"),
        explained(),
    ):
        check_connector(spark, "s3://bucket/artifacts")


def test_what_java_raises(spark: Any) -> None:
    from pyspark.sql import functions as F

    def told(column: Any) -> Exception:
        with pytest.raises(Exception) as raised, explained():
            spark.range(1).select(column).collect()
        assert "\n" not in str(raised.value)
        return raised.value

    assert str(told(F.lit(1) / F.col("id"))).startswith(
        "Spark failed: SparkArithmeticException: [DIVIDE_BY_ZERO] Division"
    )
    compose = F.reflect(
        F.lit("com.ibm.icu.text.Normalizer"), F.lit("compose"), F.lit(None).cast("string"), F.lit(False)
    )
    assert str(told(compose)).startswith("Spark failed: ")
    regex = told(F.regexp_extract(F.col("id").cast("string"), "(?P<n>x)", 1))
    assert isinstance(regex, ConfigError) and "group_pattern" in str(regex)
    with pytest.raises(RuntimeError, match=r"^Spark failed: \w+: "), explained():
        spark._jvm.java.lang.Integer.parseInt("x")


def test_errors_that_are_ours_or_nobodys_pass() -> None:
    for error in (ConfigError("wrong"), EngineUnavailable("away"), KeyError("a bug of ours")):
        with pytest.raises(type(error)) as raised, explained():
            raise error
        assert raised.value is error


SHUT_DOWN = [
    "An error occurred while calling o70.collectToPython.\n: org.apache.spark.SparkException: Job 3 cancelled because "
    "SparkContext was shut down\n\tat org.apache.spark.scheduler.DAGScheduler.x(DAGScheduler.scala:1)",
    "java.lang.IllegalStateException: Cannot call methods on a stopped SparkContext.\nThis stopped SparkContext was …",
]


@pytest.mark.parametrize("text", SHUT_DOWN)
def test_a_job_that_was_cancelled_by_a_shutdown_is_a_dead_jvm(text: str) -> None:
    error = explain(text)
    assert isinstance(error, EngineUnavailable)
    assert "Spark's JVM died" in str(error) and "DRIVER_MEMORY" in str(error)


def test_an_error_that_is_kept_in_a_dead_jvm_is_told_and_recorded(tmp_path: Any) -> None:
    """`str()` of such an error asks the JVM, and raises: the record of a stage was left "running" by it."""
    from py4j.protocol import Py4JJavaError, Py4JNetworkError

    class Unreachable(Py4JJavaError):
        def __init__(self) -> None:
            Exception.__init__(self)

        def __str__(self) -> str:
            raise Py4JNetworkError("Answer from Java side is empty")

    def body(run: RunDir, record: StageRecord) -> None:
        with explained():
            raise Unreachable

    run = RunDir(str(tmp_path / "run"))
    run.create(str(tmp_path / "artifacts"), {})
    assert run_stage("corpus", body, [run.uri]) == EXIT_INFRASTRUCTURE
    record = run.record("corpus")
    assert record and record.status == "failed" and record.retry_helps
    assert (record.error or "").startswith("EngineUnavailable: Spark's JVM died") and "Remedy" in (record.error or "")
