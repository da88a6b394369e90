"""What each form came to at each size: medians over its processes with bootstrap intervals, or why it has no time."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np

from comparison.results import Measurement, Phase, Status

DRAWS, SEED, LEVEL = 1000, 0, 0.95  # of the bootstrap
# One process says nothing about the spread between processes: its interval is at least this wide, by assumption.
ASSUMED_SPREAD = 1.25


@dataclass(frozen=True)
class Estimate:
    """Seconds: the median over processes and a 95 % interval of it."""

    median: float
    low: float
    high: float

    def overlaps(self, other: "Estimate") -> bool:
        """Whether the two cannot be told apart."""
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True)
class Outcome:
    """A form with its settings at one size.

    Attributes:
        status: ``ok``, or why there is no time.
        message: of a failure.
        start: of the engine's session.
        first: run in a session.
        warm: median of a process's warm runs; of the first run where no warm ones were made.
        cold: start and first run together.
        cpu_seconds: of a warm run, of all its processes.
        peak_bytes: largest of all runs.
        rows: of the output.
        processes, warm_runs: that the estimates rest on; the least of all processes.
        lines: of code.
        figures: of the form's own, their medians.
    """

    stage: str
    engine: str
    variant: str
    settings: str
    megabytes: float
    status: Status
    message: str
    lines: int
    processes: int = 0
    warm_runs: int = 0
    start: Estimate | None = None
    first: Estimate | None = None
    warm: Estimate | None = None
    cold: Estimate | None = None
    cpu_seconds: float | None = None
    peak_bytes: int | None = None
    rows: int | None = None
    figures: tuple[tuple[str, float], ...] = ()

    @property
    def form(self) -> str:
        """Name of the form within its stage: ``spark sql``."""
        return f"{self.engine} {self.variant}"


def outcomes_of(measurements: Iterable[Measurement]) -> list[Outcome]:
    """One outcome per form, settings and size, in the order of the measurements.

    A process that failed makes the form fail at this size. Processes under foreign load are left out; where no other
    is left, the outcome is ``loaded``.
    """
    groups: dict[tuple[str, str, str, float], list[Measurement]] = defaultdict(list)
    for m in measurements:
        groups[m.stage, m.form, m.settings, m.megabytes].append(m)
    return [_outcome(group) for group in groups.values()]


def _outcome(group: list[Measurement]) -> Outcome:
    m = group[0]
    loaded = {g.process for g in group if g.status == "loaded"}
    used = [g for g in group if g.process not in loaded]
    named = (m.stage, m.engine, m.variant, m.settings, m.megabytes)
    if bad := next((g for g in used or group if g.status != "ok"), None):
        total, failed = len({g.process for g in group}), len({g.process for g in group if g.status == bad.status})
        share = f" ({failed} of {total} processes)" if failed < total else ""
        return Outcome(*named, bad.status, bad.message + share, m.lines)
    if not any(g.phase == "first" for g in used):
        return Outcome(*named, "failed", "it was not measured to its end", m.lines)
    return Outcome(*named, "ok", "", m.lines, **_estimates(used))


def _estimates(used: list[Measurement]) -> dict:
    start, first, warm = (_by_process(used, phase) for phase in ("start", "first", "warm"))
    cold = {p: [start.get(p, [0.0])[0] + runs[0]] for p, runs in first.items()}
    work = [g for g in used if g.phase == "warm"] or [g for g in used if g.phase == "first"]
    names = sorted({name for g in work for name in g.figures})
    return {
        "processes": len(first),
        "warm_runs": min((len(warm.get(p, ())) for p in first), default=0),
        "start": estimate(list(start.values())) if start else None,
        "first": estimate(list(first.values())),
        "warm": estimate(list((warm or first).values())),
        "cold": estimate(list(cold.values())),
        "cpu_seconds": _median(work, lambda g: g.cpu_seconds),
        "peak_bytes": max((g.peak_bytes for g in used if g.peak_bytes is not None), default=None),
        "rows": next((g.rows for g in used if g.rows is not None), None),
        "figures": tuple(
            (name, float(np.median([g.figures[name] for g in work if name in g.figures]))) for name in names
        ),
    }


def _by_process(group: list[Measurement], phase: Phase) -> dict[int, list[float]]:
    found: dict[int, list[float]] = defaultdict(list)
    for g in group:
        if g.phase == phase and g.seconds is not None:
            found[g.process].append(g.seconds)
    return dict(found)


def _median(group: list[Measurement], value: Callable[[Measurement], float | None]) -> float | None:
    values = [v for g in group if (v := value(g)) is not None]
    return float(np.median(values)) if values else None


def estimate(processes: list[list[float]]) -> Estimate:
    """Median over processes of each one's median run; processes, and runs within each, are drawn again and again."""
    medians = np.array([np.median(runs) for runs in processes])
    drawn = np.stack([_medians_of_draws(tuple(runs)) for runs in processes])  # process x draw
    chosen = drawn[_draws(len(processes)), np.arange(DRAWS)[:, None]]  # draw x process
    low, high = np.quantile(np.median(chosen, axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    middle = float(np.median(medians))
    if len(processes) == 1:
        low, high = min(low, middle / ASSUMED_SPREAD), max(high, middle * ASSUMED_SPREAD)
    return Estimate(middle, min(float(low), middle), max(float(high), middle))


def _medians_of_draws(runs: tuple[float, ...]) -> np.ndarray:
    return np.median(np.array(runs)[_draws(len(runs), SEED + 1)], axis=1)


@cache
def _draws(count: int, seed: int = SEED) -> np.ndarray:
    """Indices drawn with replacement: ``DRAWS`` rows of ``count``; the same ones each time."""
    return np.random.default_rng((seed, count)).integers(0, count, (DRAWS, count))
