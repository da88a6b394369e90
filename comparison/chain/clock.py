"""Seconds of each part of a chain."""

import contextlib
import time
from collections.abc import Iterator


class Clock:
    """Collects ``<part>_seconds``.

    Attributes:
        figures: what a form returns.
    """

    def __init__(self) -> None:
        self.figures: dict[str, float] = {}

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the block's time to a part."""
        begin = time.monotonic()
        try:
            yield
        finally:
            key = f"{name}_seconds"
            self.figures[key] = self.figures.get(key, 0.0) + time.monotonic() - begin
