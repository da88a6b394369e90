"""Workers that die once, for the table of what each architecture makes of it."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

EXECUTOR = "org.apache.spark.executor.CoarseGrainedExecutorBackend"


def die_once(mark: Path | None) -> None:
    """Kill this process with SIGKILL unless ``mark`` exists; it does from then on. Does nothing without a mark."""
    if mark is not None and _first(mark):
        os.kill(os.getpid(), signal.SIGKILL)


def _first(mark: Path) -> bool:
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


@contextlib.contextmanager
def an_executor_dies(mark: Path | None, spark: Any) -> Iterator[None]:
    """Kill one of Spark's executors, once, when a first stage of the block's job is done: what it shuffled is lost.

    Does nothing without a mark. SQL has no Python worker that could kill itself.
    """
    if mark is None:
        yield
        return
    ended = threading.Event()
    killer = threading.Thread(target=_kill_an_executor, args=(mark, spark.sparkContext.statusTracker(), ended))
    killer.start()
    try:
        yield
    finally:
        ended.set()
        killer.join()


def _kill_an_executor(mark: Path, tracker: Any, ended: threading.Event) -> None:
    first: int | None = None
    while not ended.is_set():
        active = tracker.getActiveStageIds()
        first = first if first is not None or not active else min(active)
        if first is not None and active and min(active) > first:
            executors = _executors()
            assert executors, "Spark has no executors of their own: give spark_master"
            if _first(mark):
                executors[0].kill()
            return
        time.sleep(0.01)


def _executors() -> list[Any]:
    """Spark's executors below this process."""
    import psutil

    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it ended meanwhile
            if EXECUTOR in process.cmdline():
                found.append(process)
    return found
