"""Seconds of each part of a chain, and how often its caller had to try it again."""

import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Clock:
    """Runs parts and collects ``<part>_seconds``.

    Args:
        retries: how often a part that fails is tried again; its seconds go on, and ``<part>_retries`` counts.

    Attributes:
        figures: what a form returns.
    """

    def __init__(self, retries: int = 0) -> None:
        self._retries = retries
        self.figures: dict[str, float] = {}

    def timed(
        self, part: str, work: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        """Do a part of the work and add its seconds to those of the part."""
        begin = time.monotonic()
        try:
            return self._tried(part, lambda: work(*args, **kwargs))
        finally:
            self._add(f"{part}_seconds", time.monotonic() - begin)

    def _tried(self, part: str, work: Callable[[], Result]) -> Result:
        for _ in range(self._retries):
            try:
                return work()
            except Exception as error:  # whatever an engine raises when it has lost a worker
                print(f"{part} failed and is tried again: {type(error).__name__}: {str(error)[:200]}", flush=True)
                self._add(f"{part}_retries", 1.0)
        return work()

    def _add(self, name: str, value: float) -> None:
        self.figures[name] = self.figures.get(name, 0.0) + value
