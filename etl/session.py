"""The Spark session of a job: the one that spark-submit or a caller made, else an embedded one on this machine."""

import contextlib
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from py4j.protocol import Py4JError
from pyspark import SparkContext
from pyspark.sql import SparkSession

from etl.java import find_java_home
from etl.spark_conf import SQL_CONF, embedded_conf
from handoff.errors import EngineUnavailable

log = logging.getLogger("baton")


@contextlib.contextmanager
def spark_session(app_name: str, log_file: str, cache: Path, raw_bytes: int) -> Iterator[SparkSession]:
    """A session with settings of its own.

    Under spark-submit the submitted settings hold. A Spark that is already running in this process is used and left
    running. Otherwise a Spark starts on this machine's cores and ends with the block.

    Args:
        app_name: shown in Spark's UI and history.
        log_file: local path of the embedded Spark's own log.
        cache: where a launcher for the packaged Java may be written.
        raw_bytes: of the text to come: an embedded Spark is set up for it.

    Raises:
        ConfigError: no Java.
        EngineUnavailable: Spark does not start.
    """
    running = SparkContext._active_spark_context is not None
    # Under spark-submit too: a local master's Python workers else are whatever `python3` is on the path.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(app_name)
    if not running and "PYSPARK_GATEWAY_PORT" not in os.environ:
        os.environ["JAVA_HOME"] = find_java_home(cache)
        if sys.flags.utf8_mode:  # Python's answer to LC_ALL=C, under which Java would write "?" into names of files
            os.environ["LC_ALL"] = "C.UTF-8"
        for key, value in embedded_conf(log_file, raw_bytes).items():
            builder = builder.config(key, value)
        log.info("spark: starting; its own log: %s", log_file)
    try:
        shared = builder.getOrCreate()
    except Exception as error:
        cause = str(error).strip().split("\n")[0]
        raise EngineUnavailable(
            f"Spark does not start: {cause}. Remedy: check the spark_default connection and Spark's log ({log_file})"
        ) from error
    session = shared.newSession()
    for key, value in SQL_CONF.items():
        session.conf.set(key, value)
    try:
        yield session
    finally:
        if not running:
            with contextlib.suppress(
                Py4JError, OSError
            ):  # a JVM that died has nothing to stop, and its error is on its way
                shared.stop()


def engine_path(uri: str) -> str:
    """A local path or URI as Spark takes it: with a scheme, s3 by the s3a connector."""
    return re.sub(r"^s3://", "s3a://", uri) if "://" in uri else f"file://{uri}"


def check_connector(spark: SparkSession, uri: str) -> None:
    """See that Spark has the connector for a store, before hours of work and not at the first write.

    Raises:
        Py4JError: it has none.
    """
    jvm, settings = spark._jvm, spark._jsc.hadoopConfiguration()  # type: ignore[union-attr, attr-defined]
    assert jvm is not None
    jvm.org.apache.hadoop.fs.Path(engine_path(uri)).getFileSystem(settings)
