"""Waits with a bound, which say what they waited for and what they saw."""

import time
from collections.abc import Callable

WAIT_SECONDS = 150


def wait_until(
    done: Callable[[], bool], what: str, seen: Callable[[], object] = lambda: "", seconds: float = WAIT_SECONDS
) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}; seen: {seen()}"
        time.sleep(0.3)
