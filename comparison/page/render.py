"""The page of a comparison: one HTML file that opens offline, with a verdict per stage readable in a minute at its top."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparison.config import ComparisonConfig
from comparison.form import Stage
from comparison.judge import findings
from comparison.judge.outcomes import Key, Outcome, outcomes_of
from comparison.judge.verdict import EITHER, NOBODY, OPEN, Verdict, verdicts_of, word
from comparison.judge.words import NAMES, STATUS, figures, interval, megabytes, seconds, times
from comparison.page.stage_view import price, view
from comparison.registry import stage as known_stage
from comparison.results import Measurement
from pages.template import template


@dataclass(frozen=True)
class Row:
    """A stage in the table at the top.

    Attributes:
        cells: per size, the cold verdict (the engine's start and the first run) and who it is for; None where it was not
            measured.
        warm: the same for warm runs, at the largest size.
        alone: the third column, where it beats the engines.
        costs: engine, core-seconds and price of a thousand warm runs, at the largest size.
        unequal: whether some output differs.
    """

    stage: Stage
    cells: list[tuple[str, str] | None]
    warm: tuple[str, str]
    alone: str
    costs: list[tuple[str, str]]
    unequal: bool


def render(
    measurements: Sequence[Measurement],
    machine: dict[str, str],
    config: ComparisonConfig,
    partial: str | None,
    stage_of: Callable[[str], Stage] = known_stage,
    asked: Sequence[Key] = (),
) -> str:
    """The page as one HTML document. Whatever comes from users is escaped, credentials in addresses are masked.

    Args:
        machine: facts about it, as ``handoff.machine`` tells them.
        partial: why the measurements are not all that was asked for; None where they are.
        stage_of: finds a stage by its name.
        asked: all that was to be measured; a stage with a form that is missing from it gets no verdict.
    """
    outcomes = outcomes_of(measurements, asked)
    cold, warm = verdicts_of(outcomes, "cold"), verdicts_of(outcomes, "warm")
    stages = {name: stage_of(name) for name in dict.fromkeys(o.stage for o in outcomes)}
    titles = {name: stage.title for name, stage in stages.items()}
    sizes = sorted({o.megabytes for o in outcomes})
    chain = findings.chain_sentence(cold)
    return template(Path(__file__).parent, seconds=seconds, interval=interval, megabytes=megabytes).render(
        title=chain or findings.count_sentence(cold).rstrip("."),
        counts=findings.count_sentence(cold) if chain else None,
        few=findings.few_repeats(outcomes, config),
        partial=partial,
        engines=[(name, NAMES[name], told) for name, told in findings.engine_sentences(outcomes, cold)],
        chain=_chain([o for o in outcomes if o.stage == "chain"], config),
        recovery=_recovery([o for o in outcomes if o.stage == "recover"]),
        sizes=[megabytes(s) for s in sizes],
        rows=[_row(stage, outcomes, warm, cold, sizes, config) for stage in stages.values()],
        views=[
            view(
                stage, [o for o in outcomes if o.stage == name], [v for v in (*cold, *warm) if v.stage == name], config
            )
            for name, stage in stages.items()
        ],
        spark_loses=findings.losses("spark", [*cold, *warm], titles),
        ray_loses=findings.losses("ray", [*cold, *warm], titles),
        needless=findings.needless([*cold, *warm], titles),
        cannot_tell=findings.cannot_tell(outcomes, machine, config, partial),
        machine=machine,
        config=config,
        started=min((m.started for m in measurements), default=None),
        ended=max((m.started for m in measurements), default=None),
        names=NAMES,
        status=STATUS,
    )


def _row(
    stage: Stage,
    outcomes: Sequence[Outcome],
    warm: Sequence[Verdict],
    cold: Sequence[Verdict],
    sizes: list[float],
    config: ComparisonConfig,
) -> Row:
    by_size = {v.megabytes: v for v in cold if v.stage == stage.name}
    last_warm = findings.at_largest([v for v in warm if v.stage == stage.name])
    last = findings.at_largest(list(by_size.values()))
    third = last[0].third if last else None
    return Row(
        stage=stage,
        cells=[_cell(by_size[s]) if s in by_size else None for s in sizes],
        warm=_cell(last_warm[0]) if last_warm else ("no time", NOBODY),
        alone=f"{NAMES[third.engine]} {times(last[0].neither)}" if last and third and last[0].neither else "",
        costs=[(o.engine, _cost(o, config)) for o in last[0].ranked] if last else [],
        unequal=any(o.stage == stage.name and o.status == "unequal" for o in outcomes),
    )


def _cell(verdict: Verdict) -> tuple[str, str]:
    """A verdict's words and what it is coloured as."""
    if verdict.winner == OPEN and verdict.ranked and not verdict.missing:
        return " · ".join(f"{NAMES[o.engine]} {seconds(verdict.time(o).median)}" for o in verdict.ranked), EITHER
    compared = verdict.factor or verdict.without
    return word(verdict), verdict.winner if verdict.winner in NAMES and compared else EITHER


def _cost(outcome: Outcome, config: ComparisonConfig) -> str:
    used = "–" if outcome.cpu_seconds is None else f"{outcome.cpu_seconds:,.0f}\u202fcore-s"
    paid = price(outcome, config)
    return used if paid is None else f"{used} · {paid:.2g}\u202f{config.currency}"


def _chain(outcomes: list[Outcome], config: ComparisonConfig) -> list[dict[str, Any]]:
    """The architectures of the whole chain, side by side, at the largest size at which most of them were measured."""
    engines = {
        size: len({o.engine for o in outcomes if o.megabytes == size}) for size in (o.megabytes for o in outcomes)
    }
    largest = max(engines, key=lambda size: (engines[size], size), default=None)
    here = [o for o in outcomes if o.megabytes == largest and o.settings == "tuned"]
    return [{"outcome": o, "price": price(o, config), "why": STATUS.get(o.status)} for o in here]


def _recovery(outcomes: list[Outcome]) -> list[tuple[str, str]]:
    """Engine, and what became of a training one of whose workers was killed."""
    told = []
    for o in outcomes:
        if o.settings == "tuned":
            what = f"{seconds(o.warm.median)} in all" if o.warm else f"{STATUS[o.status]}, {o.message}"
            told.append((o.engine, f"{o.variant}: {what}" + (f" · {figures(o)}" if o.figures else "")))
    return told
