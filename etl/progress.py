"""A line every few seconds while Spark works: tasks done of those known, and the time so far."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JError
from pyspark.sql import SparkSession

from handoff.job import log


@contextmanager
def progress_lines(spark: SparkSession, label: str, every_seconds: float = 5.0) -> Iterator[None]:
    """Log the progress of the active Spark stages while the block runs; nothing if it ends within an interval."""
    tracker = spark.sparkContext.statusTracker()
    ended, start = threading.Event(), time.monotonic()

    def report() -> None:
        while not ended.wait(every_seconds):
            try:
                stages = [s for i in tracker.getActiveStageIds() if (s := tracker.getStageInfo(i))]
            except (Py4JError, OSError):  # the JVM is gone: the work itself will say so
                return
            done, total = sum(s.numCompletedTasks for s in stages), sum(s.numTasks for s in stages)
            work = f"{done}/{total} tasks" if total else "Spark plans"
            log.info("%s: %s · %.0f s", label, work, time.monotonic() - start)

    thread = threading.Thread(target=report, name="spark-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
