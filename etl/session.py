"""The Spark session of a job: the one that spark-submit or a caller made, else an embedded one on this machine."""

import contextlib
import logging
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from etl.java import find_java_home
from handoff.errors import EngineUnavailable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger("baton")

LOG4J = Path(__file__).with_name("log4j2.properties")

PARTITION_BYTES = 32 << 20  # of raw text: a task takes seconds, so that cores end together and progress is seen

# What the transforms rely on, whoever made the session.
SQL_CONF = {
    "spark.sql.ansi.enabled": "true",
    # Of a shuffle's compressed rows. Rows of two ids take six times as much while they are sorted: with Spark's 64 MiB
    # two tasks at a time ran out of a heap of 2 GiB on 1 GB of text.
    "spark.sql.adaptive.advisoryPartitionSizeInBytes": str(16 << 20),
    "spark.sql.files.maxPartitionBytes": str(PARTITION_BYTES),
    "spark.sql.legacy.javaCharsets": "true",  # decode() else knows seven encodings, and cp1252 is not among them
}


# Cached texts are arrays of about 10 MB. G1 does not move such: in a heap of 2 GiB it could not place a join's first page
# of 64 MiB, 17 times on 1 GB of text, and once Spark gave up.
COLLECTOR = "-XX:+UseParallelGC"
# HotSpot's C2 compiles ten times later than by default. A job of a minute runs each piece of Spark's planner and of its
# generated code a few times: C2 took a third of the demo's corpus stage (83 CPU seconds, 62 with these; 51 without C2,
# which a long job cannot do without). What runs over every row passes these thresholds within a second or so.
JIT = (
    f"{COLLECTOR} -XX:Tier4InvocationThreshold=50000 -XX:Tier4MinInvocationThreshold=6000 "
    "-XX:Tier4CompileThreshold=150000 -XX:Tier4BackEdgeThreshold=400000"
)
# Without C2, for little text: at 100 MB de-duplication alone takes 10 % less than with C2, the corpus stage the same. The
# code cache would else shrink to a fifth.
JIT_SHORT = f"{COLLECTOR} -XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m"
SHORT_BYTES = 128 << 20  # of raw text


def jit(raw_bytes: int) -> str:
    """The JVM's options for a job over this much raw text."""
    return JIT_SHORT if raw_bytes <= SHORT_BYTES else JIT


def quiet_conf(log_file: str, jit_options: str = JIT) -> dict[str, str]:
    """Spark settings that send Spark's own log into a local file and keep the console for the job.

    They act only when the JVM starts: pass them to spark-submit as ``--conf``.
    """
    options = f'-Dlog4j2.configurationFile="{LOG4J}" -Dbaton.spark.log="{log_file}" {jit_options}'
    return {"spark.driver.extraJavaOptions": options, "spark.ui.showConsoleProgress": "false"}


def embedded_conf(log_file: str, raw_bytes: int) -> dict[str, str]:
    """Settings of a Spark on this machine's cores that nobody else can reach."""
    return {
        **quiet_conf(log_file, jit(raw_bytes)),
        "spark.master": "local[*]",
        "spark.driver.memory": "2g",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
    }


def shuffle_partitions(cores: int, raw_bytes: int) -> int:
    """Partitions of a shuffle of this much raw text: 32 MiB each, about 128 MiB where it was compressed; one per core at least.

    Spark's own default of 200 makes the shuffling phases of the demo (9.5 MB, two cores) take 18 s instead of 8 s.
    """
    return max(cores, math.ceil(raw_bytes / PARTITION_BYTES))


@contextlib.contextmanager
def spark_session(app_name: str, log_file: str, cache: Path, raw_bytes: int) -> Iterator["SparkSession"]:
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
    from py4j.protocol import Py4JError
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

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
