"""Made-up measurements, whose costs are known."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from comparison.results import Measurement

STARTED = datetime(2026, 11, 26, tzinfo=UTC)


def measurement(stage: str, form: str, megabytes: float, seconds: float | None, **changes: Any) -> Measurement:
    engine, variant = form.split(" ", 1)
    values: dict[str, Any] = {
        "stage": stage, "engine": engine, "variant": variant, "settings": "tuned", "megabytes": megabytes,
        "process": 0, "phase": "first", "run": 0, "status": "ok", "seconds": seconds, "cpu_seconds": 1.0,
        "peak_bytes": 1 << 20, "foreign_cores": 0.0, "load": 0.1, "digest": "1:a", "rows": 1, "message": "",
        "started": STARTED, "lines": 10, "shuffles": 0, "python_rows": False, "loads_model": False,
    }  # fmt: skip
    return Measurement(**(values | changes))


def cell(
    stage: str,
    form: str,
    megabytes: float,
    seconds: Sequence[float],
    start: float = 0.0,
    warm: Sequence[float] = (),
    **facts: Any,
) -> list[Measurement]:
    """One process for each figure: its session's start and first run take that long together; then warm runs."""
    rows = []
    for process, total in enumerate(seconds):
        rows.append(measurement(stage, form, megabytes, start, process=process, phase="start", digest=None, **facts))
        rows.append(measurement(stage, form, megabytes, total - start, process=process, **facts))
        rows += [
            measurement(stage, form, megabytes, took, process=process, phase="warm", run=run, **facts)
            for run, took in enumerate(warm)
        ]
    return rows


def noisy(seconds: float, share: float, draw: np.random.Generator, processes: int = 3) -> list[float]:
    return [float(seconds * np.exp(draw.normal(0, share))) for _ in range(processes)]
