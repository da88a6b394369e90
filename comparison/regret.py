"""Whether the advisor earns its keep: its regret on cells that it has not seen, beside that of fixed rules."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from comparison.advisor import Advisor
from comparison.fit import Cell, cells
from comparison.results import Measurement
from handoff.errors import ConfigError

ADVISOR = "advisor"
RULE = "shuffles to Spark, the rest to Ray"
FAILED = float("inf")  # the choice had no time where another had


@dataclass(frozen=True)
class Regret:
    """Of one way to choose: t(chosen) / t(best) − 1 over cells; infinite where the choice failed. NaN without cells."""

    median: float
    p95: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Regret":
        if not values:
            return cls(float("nan"), float("nan"), float("nan"))
        return cls(float(np.median(values)), float(np.quantile(values, 0.95, method="higher")), max(values))


@dataclass(frozen=True)
class Validation:
    """How the ways to choose did on one kind of unseen cells.

    Attributes:
        unseen: which cells these are.
        cells: number of stages × sizes that were judged.
        either: for how many the advisor said that it does not matter; its fastest form counts.
        refused: how many more it gave no answer for.
        regrets: per way to choose. A fixed rule gets the fastest form of its engine, known afterwards.
    """

    unseen: str
    cells: int
    either: int
    refused: int
    regrets: dict[str, Regret]


@dataclass(frozen=True)
class _Case:
    """A stage at a size where more than one engine was tried; the forms that have a time."""

    stage: str
    megabytes: float
    forms: tuple[Cell, ...]

    @property
    def best(self) -> float:
        return min(c.median for c in self.forms)

    def regret(self, chosen: Iterable[Cell]) -> float:
        """Of the fastest of the forms that a choice leaves."""
        return min((c.median / self.best - 1 for c in chosen), default=FAILED)


def validate(
    measurements: Sequence[Measurement],
    other_day: Sequence[Measurement] = (),
    warm: bool = False,
    among: tuple[str, ...] = ("spark", "ray"),
) -> list[Validation]:
    """Regret on the largest size of each stage, on whole stages, and on another run where one is given.

    Each time, what is judged was kept from the advisor.
    """
    everything = _cases(measurements, warm, among)
    sizes: dict[str, set[float]] = defaultdict(set)
    for case in everything:
        sizes[case.stage].add(case.megabytes)
    largest = {stage: max(known) for stage, known in sizes.items() if len(known) > 1}  # else it is a whole stage
    smaller = [m for m in measurements if m.megabytes < largest.get(m.stage, float("inf"))]
    last = [c for c in everything if c.megabytes == largest.get(c.stage)]
    done = [_validation("the largest size", [(smaller, last)], warm, among)]
    stages = [
        ([m for m in measurements if m.stage != stage], [c for c in everything if c.stage == stage])
        for stage in sorted(sizes)
    ]
    done.append(_validation("a whole stage", stages, warm, among))
    if other_day:
        done.append(_validation("another run", [(list(measurements), _cases(other_day, warm, among))], warm, among))
    return done


def _cases(measurements: Iterable[Measurement], warm: bool, among: tuple[str, ...]) -> list[_Case]:
    tried: dict[tuple[str, float], set[str]] = defaultdict(set)
    measurements = list(measurements)
    for m in measurements:
        if m.status != "loaded" and m.engine in among:
            tried[m.stage, m.megabytes].add(m.engine)
    timed: dict[tuple[str, float], list[Cell]] = defaultdict(list)
    for cell in cells(measurements, warm):
        if cell.engine in among:
            timed[cell.stage, cell.megabytes].append(cell)
    return [_Case(*key, tuple(timed[key])) for key in sorted(timed) if len(tried[key]) > 1]


def _validation(
    unseen: str, splits: list[tuple[list[Measurement], list[_Case]]], warm: bool, among: tuple[str, ...]
) -> Validation:
    found: dict[str, list[float]] = defaultdict(list)
    either = refused = 0
    for seen, cases in splits:
        try:
            advisor = Advisor(seen, warm) if cases else None
        except ConfigError:
            refused += len(cases)
            continue
        for case in cases:
            assert advisor
            try:
                answer = advisor.ask(case.stage, case.megabytes, among, unmeasured=case.forms)
            except ConfigError:
                refused += 1
                continue
            either += answer.choice == "either"
            found[ADVISOR].append(case.regret(c for c in case.forms if c.form == answer.best.form))
            for engine in among:
                found[f"always {engine}"].append(case.regret(c for c in case.forms if c.engine == engine))
            rule = "spark" if any(c.shuffles for c in case.forms) else "ray"
            found[RULE].append(case.regret(c for c in case.forms if c.engine == rule))
    names = (ADVISOR, *(f"always {engine}" for engine in among), RULE)
    return Validation(unseen, len(found[ADVISOR]), either, refused, {name: Regret.of(found[name]) for name in names})
