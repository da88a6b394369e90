"""Which engine is the faster one, per stage and size, warm and cold; where it changes; and where neither is needed."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from comparison.judge.outcomes import PROCESSES_FOR_INTERVAL, Estimate, Key, Outcome, outcomes_of
from comparison.judge.words import NAMES, megabytes, times
from comparison.results import Measurement

Temperature = Literal["warm", "cold"]
TEMPERATURES: tuple[Temperature, ...] = ("cold", "warm")  # a DAG runs cold
EITHER, NOBODY, OPEN = "either", "nobody", "open"
UNJUDGED = ("missing", "loaded")  # says nothing about the form itself
CONTENDERS = ("spark", "ray", "relay")  # the others are the third column


@dataclass(frozen=True)
class Verdict:
    """Of one stage at one size.

    Attributes:
        temperature: ``warm`` runs, or ``cold``: the session's start and the first run.
        ranked: the fastest form of each contender that has a time, fastest first.
        third: the fastest form without Spark and Ray.
        without: contenders that were measured and have no time.
        missing: names of forms whose turn never came, or which have no time for other processes' sake.
    """

    stage: str
    megabytes: float
    temperature: Temperature
    ranked: tuple[Outcome, ...]
    third: Outcome | None
    without: tuple[str, ...]
    missing: tuple[str, ...] = ()

    @property
    def tied(self) -> tuple[Outcome, ...]:
        """The fastest, and those that were not measured to be slower."""
        first, *others = self.ranked
        return first, *(o for o in others if not self.time(first).below(self.time(o)))

    @property
    def winner(self) -> str:
        """A contender, ``either`` where intervals touch, ``nobody`` where none has a time.

        ``open`` where nothing can be said: a form is missing, or times rest on too few processes for an interval.
        """
        if self.missing:
            return OPEN
        if not self.ranked:
            return NOBODY
        if len(self.ranked) > 1 and any(self.time(o).low is None for o in self.tied):
            return OPEN
        return EITHER if len(self.tied) > 1 else self.ranked[0].engine

    @property
    def measured(self) -> int:
        """Number of contenders that were measured, with or without a time."""
        return len(self.ranked) + len(self.without)

    @property
    def decided(self) -> bool:
        """Whether a contender was measured to be faster than another."""
        return self.winner in CONTENDERS and len(self.ranked) > 1

    @property
    def factor(self) -> float | None:
        """How many times as long the next contender takes; None without another."""
        if len(self.ranked) < 2:
            return None
        return self.time(self.ranked[1]).median / self.time(self.ranked[0]).median

    @property
    def neither(self) -> float | None:
        """How many times as long the fastest contender takes as the third column, where that is clearly faster."""
        if self.missing or not self.third or not self.ranked:
            return None
        if not self.time(self.third).below(self.time(self.ranked[0])):
            return None
        return self.time(self.ranked[0]).median / self.time(self.third).median

    def time(self, outcome: Outcome) -> Estimate:
        """Seconds of an outcome that has a time, warm or cold."""
        return time_of(outcome, self.temperature)

    def of(self, contender: str) -> Outcome | None:
        """The fastest form of a contender, if it has a time."""
        return next((o for o in self.ranked if o.engine == contender), None)


def time_of(outcome: Outcome, temperature: Temperature) -> Estimate:
    """Seconds of an outcome that has a time."""
    estimate = _estimate(outcome, temperature)
    assert estimate, "only of outcomes with a time"
    return estimate


def _estimate(outcome: Outcome, temperature: Temperature) -> Estimate | None:
    return outcome.warm if temperature == "warm" else outcome.cold


def verdicts_of(outcomes: Sequence[Outcome], temperature: Temperature) -> list[Verdict]:
    """A verdict per stage and size, in the order of stages in ``outcomes``, small sizes first."""
    stages = list(dict.fromkeys(o.stage for o in outcomes))
    keys = sorted({(stages.index(o.stage), o.megabytes) for o in outcomes})
    return [
        _verdict([o for o in outcomes if (o.stage, o.megabytes) == (stages[n], megabytes)], temperature)
        for n, megabytes in keys
    ]


def _verdict(group: list[Outcome], temperature: Temperature) -> Verdict:
    best: dict[str, Outcome] = {}
    for outcome in group:
        if outcome.status == "ok" and _estimate(outcome, temperature):
            seen = best.get(outcome.engine)
            if seen is None or time_of(outcome, temperature).median < time_of(seen, temperature).median:
                best[outcome.engine] = outcome
    ranked = sorted(best.values(), key=lambda o: time_of(o, temperature).median)
    measured = dict.fromkeys(o.engine for o in group if o.status not in UNJUDGED)
    failed = {o.engine for o in group if o.status not in ("ok", *UNJUDGED)}
    return Verdict(
        stage=group[0].stage,
        megabytes=group[0].megabytes,
        temperature=temperature,
        ranked=tuple(o for o in ranked if o.engine in CONTENDERS),
        third=next((o for o in ranked if o.engine not in CONTENDERS), None),
        without=tuple(c for c in measured if c in CONTENDERS and c not in best and c in failed),
        missing=tuple(o.form for o in group if o.settings == "tuned" and o.status in UNJUDGED),
    )


def crossover(verdicts: Iterable[Verdict]) -> tuple[float, str, str] | None:
    """Megabytes from which on one engine is no longer the faster one, that engine, and the one that is faster beyond.

    Takes the verdicts of one stage. Sizes at which neither was clearly faster are passed over; between the two sizes
    around a change, the logarithm of the time is a straight line over that of the size. None where the same engine is
    the faster one at every size. Of several changes, the one at the largest size.
    """
    decided = sorted((v for v in verdicts if v.decided), key=lambda v: v.megabytes)
    for below, above in reversed(list(itertools.pairwise(decided))):
        one, other = below.winner, above.winner
        if one != other and (lead := _lead(below, one, other)) and (lag := _lead(above, one, other)):
            part = lead / (lead - lag)
            size = math.exp(math.log(below.megabytes) * (1 - part) + math.log(above.megabytes) * part)
            return size, one, other
    return None


def _lead(verdict: Verdict, one: str, other: str) -> float | None:
    """Logarithm of how many times as long ``other`` takes as ``one``."""
    a, b = verdict.of(one), verdict.of(other)
    return math.log(verdict.time(b).median / verdict.time(a).median) if a and b else None


def word(verdict: Verdict) -> str:
    """A verdict in few words: ``Spark 8.5×``, ``either``, ``Spark alone``, ``only Spark measured``, ``no verdict (…)``."""
    if verdict.missing:
        return f"not complete ({len(verdict.missing)} form{'s' if len(verdict.missing) > 1 else ''} without a turn)"
    if verdict.winner == NOBODY:
        return "no time"
    if verdict.winner == OPEN:
        return f"no verdict (fewer than {PROCESSES_FOR_INTERVAL} processes)"
    if verdict.winner == EITHER:
        return (
            EITHER if len(verdict.tied) == len(verdict.ranked) else " or ".join(NAMES[o.engine] for o in verdict.tied)
        )
    name = NAMES[verdict.winner]
    if verdict.factor:
        return f"{name} {times(verdict.factor)}"
    return f"{name} alone" if verdict.without else f"only {name} measured"


def summary_lines(measurements: Iterable[Measurement], asked: Iterable[Key] = ()) -> list[str]:
    """A line per stage for the log: who is faster, cold and warm, at each size."""
    outcomes = outcomes_of(measurements, asked)
    told: dict[str, list[str]] = {}
    for temperature in TEMPERATURES:
        for verdict in verdicts_of(outcomes, temperature):
            told.setdefault(verdict.stage, []).append(
                f"{word(verdict)} {temperature} at {megabytes(verdict.megabytes)}"
            )
    return [f"{stage}: {' · '.join(words)}" for stage, words in told.items()]
