"""Times of forms as sums of costs that are not negative, fitted to the logarithm of the time."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

import numpy as np
from scipy.optimize import nnls

from comparison.outcomes import ASSUMED_SPREAD
from comparison.results import Measurement

# What a form's time is made of, for all forms of an engine together.
COSTS = ("start", "shuffles", "MB", "shuffles × MB", "rows in Python × MB", "model load", "device seconds")
DRAWS = 200  # of the bootstrap


@dataclass(frozen=True)
class Cell:
    """A form at a size, with the time that each of its processes took.

    Attributes:
        seconds: one figure per process.
        device: seconds of a device's work, of the form's own figures.
    """

    stage: str
    engine: str
    form: str
    megabytes: float
    shuffles: int
    python_rows: bool
    loads_model: bool
    seconds: tuple[float, ...]
    device: float = 0.0

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def costs(self) -> np.ndarray:
        """How often each of ``COSTS`` arises. Shape (7,)."""
        size, shuffles = self.megabytes, self.shuffles
        parts = [1, shuffles, size, shuffles * size, self.python_rows * size, self.loads_model, self.device]
        return np.array(parts, dtype=float)


def cells(measurements: Iterable[Measurement], warm: bool = False) -> list[Cell]:
    """Cells that have a time: of a session's start and its first run together, or the median of its warm runs.

    Of a form that was measured tuned and with defaults, the tuned one counts. A cell of which a process failed has none.
    """
    measurements = list(measurements)
    broken = {(m.stage, m.form, m.settings, m.megabytes) for m in measurements if m.status not in ("ok", "loaded")}
    grouped: dict[tuple[str, str, str, float], list[Measurement]] = defaultdict(list)
    for m in measurements:
        if m.status == "ok" and m.seconds is not None:
            grouped[m.stage, m.form, m.settings, m.megabytes].append(m)
    tuned = {(stage, form) for stage, form, settings, _ in grouped if settings == "tuned"}
    made = []
    for (stage, form, settings, megabytes), rows in sorted(grouped.items()):
        times = [t for process in sorted({m.process for m in rows}) if (t := _time(rows, process, warm))]
        if (
            not times
            or (stage, form, settings, megabytes) in broken
            or (settings == "default" and (stage, form) in tuned)
        ):
            continue
        one = rows[0]
        cell = Cell(
            stage=stage, engine=one.engine, form=form, megabytes=megabytes, shuffles=one.shuffles,
            python_rows=one.python_rows, loads_model=one.loads_model, seconds=tuple(times),
            device=median(m.figures.get("device_seconds", 0.0) for m in rows),
        )  # fmt: skip
        made.append(cell)
    return made


def _time(rows: list[Measurement], process: int, warm: bool) -> float | None:
    told: dict[str, list[float]] = defaultdict(list)
    for m in rows:
        if m.process == process and m.seconds is not None:
            told[m.phase].append(m.seconds)
    if warm:
        return median(told["warm"]) if told["warm"] else None
    return told["start"][0] + told["first"][0] if told["start"] and told["first"] else None


def fit(costs: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Coefficients, none negative, that minimise the squared differences of logarithms of the time.

    Gauss-Newton: around the last fit f, log(x·c) is about log f + (x·c − f)/f, which is least squares in c for
    Lawson and Hanson's algorithm (1974). The first step weights by 1/seconds.

    Args:
        costs: shape (n, k).
        seconds: shape (n,), positive.

    Returns:
        Shape (k,).
    """
    found, _ = nnls(costs / seconds[:, None], np.ones(len(seconds)))
    for _ in range(20):
        near = np.maximum(costs @ found, 1e-3 * seconds)  # a step from zero would be infinite
        step, _ = nnls(costs / near[:, None], 1 + np.log(seconds / near))
        if np.allclose(step, found, rtol=1e-6, atol=1e-9):
            break
        found = step if _error(costs @ step, seconds) <= _error(costs @ found, seconds) else (found + step) / 2
    return found


def _error(fitted: np.ndarray, seconds: np.ndarray) -> float:
    return float(np.sum(np.log(np.maximum(fitted, 1e-3 * seconds) / seconds) ** 2))


def resampled(chosen: list[Cell], draw: np.random.Generator) -> np.ndarray:
    """Medians of the cells' times after drawing as many processes with replacement. Shape (n,)."""
    single = np.log(ASSUMED_SPREAD) / 1.96
    return np.array(
        [
            float(np.median(draw.choice(c.seconds, len(c.seconds))))
            if len(c.seconds) > 1
            else c.median * float(np.exp(draw.normal(0.0, single)))
            for c in chosen
        ]
    )


def bootstrap(chosen: list[Cell], costs: np.ndarray, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The fit and ``DRAWS`` fits to resampled processes, shape (1 + DRAWS, k); measured over fitted times, shape (n,)."""
    seconds = np.array([c.median for c in chosen])
    fits = [fit(costs, seconds), *(fit(costs, resampled(chosen, draw)) for _ in range(DRAWS))]
    return np.array(fits), seconds / np.maximum(costs @ fits[0], 1e-3 * seconds)
