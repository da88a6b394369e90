"""What each form came to at each size: medians over its processes with bootstrap intervals, or why it has no time."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from comparison.results import Measurement, Phase, Status

DRAWS, SEED, LEVEL = 1000, 0, 0.95  # of the bootstrap
# Fewer say too little about the spread between processes: their median is shown without an interval, and decides nothing.
PROCESSES_FOR_INTERVAL = 5
Key = tuple[str, str, str, float]  # stage, form, settings, megabytes


@dataclass(frozen=True)
class Estimate:
    """Seconds: the median over processes, and a 95 % interval of it where there are enough of them.

    Attributes:
        median: of the processes' medians.
        low, high: of the interval; both None for fewer than ``PROCESSES_FOR_INTERVAL`` processes.
    """

    median: float
    low: float | None = None
    high: float | None = None

    def below(self, other: "Estimate") -> bool:
        """Whether this time was measured to be the shorter one: both have intervals, which do not touch."""
        return self.high is not None and other.low is not None and self.high < other.low


@dataclass(frozen=True)
class Outcome:
    """A form with its settings at one size.

    Attributes:
        status: ``ok``, or why there is no time; ``missing`` where its turn never came.
        message: of a failure.
        start: of the engine's session.
        first: run in a session.
        warm: median of a process's warm runs; of the first run where no warm ones were made. None for the relay, each of whose
            runs starts both sessions.
        cold: start and first run together.
        cpu_seconds: of a warm run, of all its processes.
        peak_bytes: largest of all runs.
        spilled_bytes: to disk for lack of memory, largest of all runs; None where the engine does not say.
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
    spilled_bytes: int | None = None
    rows: int | None = None
    figures: tuple[tuple[str, float], ...] = ()

    @property
    def form(self) -> str:
        """Name of the form within its stage: ``spark sql``."""
        return f"{self.engine} {self.variant}"


def outcomes_of(measurements: Iterable[Measurement], asked: Iterable[Key] = ()) -> list[Outcome]:
    """One outcome per form, settings and size, in the order of the measurements, then those that were never measured.

    A process that failed makes the form fail at this size. Processes under foreign load are left out; where no other
    is left, the outcome is ``loaded``.

    Args:
        asked: all that the comparison was asked to measure; what of it has no measurement becomes ``missing``.
    """
    groups: dict[Key, list[Measurement]] = defaultdict(list)
    for m in measurements:
        groups[m.stage, m.form, m.settings, m.megabytes].append(m)
    missing = [
        Outcome(stage, *_parts(form), settings, size, "missing", "its turn never came", 0)
        for stage, form, settings, size in dict.fromkeys(asked)
        if (stage, form, settings, size) not in groups
    ]
    return [_outcome(group) for group in groups.values()] + missing


def _parts(form: str) -> tuple[str, str]:
    engine, _, variant = form.partition(" ")
    return engine, variant


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
        "warm": None if used[0].engine == "relay" else estimate(list((warm or first).values())),
        "cold": estimate(list(cold.values())),
        "cpu_seconds": _median(work, lambda g: g.cpu_seconds),
        "peak_bytes": max((g.peak_bytes for g in used if g.peak_bytes is not None), default=None),
        "spilled_bytes": max((g.spilled_bytes for g in used if g.spilled_bytes is not None), default=None),
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
    """Median over processes of each one's median run, with a percentile bootstrap interval over processes."""
    from scipy.stats import bootstrap

    medians = np.array([np.median(runs) for runs in processes])
    middle = float(np.median(medians))
    if len(medians) < PROCESSES_FOR_INTERVAL:
        return Estimate(middle)
    found = bootstrap(
        (medians,), np.median, n_resamples=DRAWS, confidence_level=LEVEL, method="percentile", rng=SEED
    ).confidence_interval
    return Estimate(middle, min(float(found.low), middle), max(float(found.high), middle))
