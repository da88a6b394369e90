"""Settings of Spark: those that rows depend on, and those of a job's JVM. Imports no Spark: the scheduler parses it."""

import math
from pathlib import Path

LOG4J = Path(__file__).with_name("log4j2.properties")

# Of raw text: a task then takes seconds, so that cores finish together and progress is visible.
PARTITION_BYTES = 32 << 20

# The transforms need these, whoever made the session.
SQL_CONF = {
    "spark.sql.ansi.enabled": "true",
    # Of a shuffle's compressed rows. Rows of two ids take six times as much while they are sorted: with Spark's 64 MiB
    # two tasks at a time ran out of a heap of 2 GiB on 1 GB of text.
    "spark.sql.adaptive.advisoryPartitionSizeInBytes": str(16 << 20),
    "spark.sql.files.maxPartitionBytes": str(PARTITION_BYTES),
    "spark.sql.legacy.javaCharsets": "true",  # encode() else knows seven encodings, not Windows-1252
}


# Cached texts are arrays of about 10 MB, which G1 does not move. With 1 GB of text in a heap of 2 GiB it found no room for
# a join's first page of 64 MiB 17 times, and once Spark gave up.
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
    """Partitions of a shuffle of this much raw text: 32 MiB each (about 128 MiB if compressed), at least one per core.

    Spark's own default of 200 makes the shuffling phases of the demo (9.5 MB, two cores) take 18 s instead of 8 s.
    """
    return max(cores, math.ceil(raw_bytes / PARTITION_BYTES))
