"""``python -m tests.etl.dying_job RUN_DIR LABEL VICTIM``: the corpus stage, of which a process is killed in mid work.

``LABEL`` is that of the stage's progress lines; as soon as Spark has a task under way there, SIGKILL goes to ``VICTIM``:
``jvm``, or ``python`` for a worker that Spark's daemon forked. For ``memory`` a task takes more than there is, upon which
Spark ends its JVM. It says whom it killed.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil

from etl import job
from handoff.job import run_stage

started = job.progress_lines


def victims(jvm: int, victim: str) -> list[int]:
    """Process ids to kill; none as long as no Python worker is at work."""
    if victim == "jvm":
        return [jvm]
    below = [p for p in psutil.Process(jvm).children(recursive=True) if _is_of_spark(p)]
    daemons = {p.pid for p in below}
    return [p.pid for p in below if _at_work(p, daemons)]


def _is_of_spark(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):  # it has just ended
        return "pyspark.daemon" in " ".join(process.cmdline())
    return False


def _at_work(process: psutil.Process, daemons: set[int]) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.ppid() in daemons and process.cpu_times().user > 0.02
    return False


def kill(spark: Any, victim: str) -> None:
    jvm, tracker = spark.sparkContext._gateway.proc.pid, spark.sparkContext.statusTracker()
    while not tracker.getActiveStageIds() or not (found := victims(jvm, victim)):
        time.sleep(0.01)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    print(f"killed {victim}", flush=True)


def take_all_memory(spark: Any) -> None:
    from pyspark.sql import functions as F

    print("killed memory", flush=True)
    spark.range(1).select(F.length(F.repeat(F.col("id").cast("string"), 2_147_000_000))).collect()


def main(run_dir: str, label: str, victim: str) -> int:
    @contextlib.contextmanager
    def deadly(spark: Any, name: str) -> Iterator[None]:
        if name == label and victim == "memory":
            take_all_memory(spark)
        elif name == label:
            threading.Thread(target=kill, args=(spark, victim), daemon=True).start()
        with started(spark, name):
            yield

    job.progress_lines = deadly  # type: ignore[assignment]
    return run_stage("corpus", job.run_corpus, [run_dir])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
