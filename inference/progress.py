"""Progress of an actor pool: the actors count, the driver prints a line every few seconds."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

from handoff.job import Progress

POLL_SECONDS = 1.0  # of the counter; lines are printed every five seconds


class Counter:
    """Rows and tokens that all actors of a pool have finished, and the time from the first start to the last end.

    A batch that a restarted actor repeats counts twice: these figures are for progress, not for the record.
    """

    def __init__(self) -> None:
        self.rows = self.tokens = 0
        self._first: float | None = None
        self._last = 0.0

    def begin(self) -> None:
        """A batch starts; the first one starts the clock, after the models were loaded."""
        self._first = self._first or time.monotonic()

    def add(self, rows: int, tokens: int) -> None:
        self.rows += rows
        self.tokens += tokens
        self._last = time.monotonic()

    def snapshot(self) -> tuple[int, int, float, float]:
        """Rows, tokens, seconds from the first start to the last end, and seconds from the first start until now."""
        if self._first is None:
            return self.rows, self.tokens, 0.0, 0.0
        return self.rows, self.tokens, max(self._last - self._first, 0.0), time.monotonic() - self._first


def start_counter() -> Any:
    """A counter actor that takes no CPU slot."""
    import ray

    return ray.remote(num_cpus=0)(Counter).remote()


@contextlib.contextmanager
def reported(label: str, total: int, counter: Any) -> Iterator[None]:
    """Print progress of ``total`` rows from the counter until the block ends."""
    import ray

    stop = threading.Event()

    def watch() -> None:
        progress: Progress | None = None
        ended = False
        while not ended:
            ended = stop.wait(POLL_SECONDS)
            try:
                rows, tokens, busy, since = ray.get(counter.snapshot.remote(), timeout=30)
            except ray.exceptions.RayError:  # the cluster is going down: the job's own error tells why
                return
            if rows and progress is None:
                progress = Progress(label, "rows", total, started_ago=since)
            if progress is not None and progress.done < rows <= total:
                progress.add(rows - progress.done, f"{tokens / max(busy, 1e-9):,.1f} tokens/s")

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
