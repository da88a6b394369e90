"""What the page shows of one stage: equality first, then who is faster, bars, a table per size, failures, the code."""

import inspect
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from comparison.config import ComparisonConfig
from comparison.form import Stage
from comparison.judge.equality import kernel_of
from comparison.judge.oracle import has_oracle
from comparison.judge.outcomes import Outcome
from comparison.judge.verdict import TEMPERATURES, Verdict, crossover, word
from comparison.judge.words import NAMES, STATUS, figures, interval, label_of, megabytes
from comparison.page.plots import size_chart


@dataclass(frozen=True)
class Bar:
    """A form's cold time in percent of the widest: its work, what the first run takes longer, the hand-off, the engines' start."""

    outcome: Outcome
    label: str
    work: float
    extra: float
    handoff: float
    start: float


@dataclass(frozen=True)
class StageView:
    """One section of the page."""

    stage: Stage
    equality: list[tuple[bool, str]]
    sentences: list[str]
    chart: Markup | None
    bars_at: str
    bars: list[Bar]
    tables: list[tuple[str, list[dict[str, Any]]]]
    figures: list[tuple[str, str]]
    failures: list[tuple[str, Outcome]]
    code: list[list[tuple[str, str, str]]]  # columns of engine, title and source: Spark, Ray, others
    modules: list[str]


def view(stage: Stage, outcomes: Sequence[Outcome], verdicts: Sequence[Verdict], config: ComparisonConfig) -> StageView:
    """The section of a stage.

    Args:
        outcomes: of this stage alone.
        verdicts: of this stage, warm and cold.
    """
    sizes = sorted({o.megabytes for o in outcomes}, reverse=True)
    timed = [o for o in outcomes if o.status == "ok" and o.settings == "tuned"]
    largest = max((o.megabytes for o in timed), default=None)
    shown = [o for o in timed if o.megabytes == largest]
    return StageView(
        stage=stage,
        equality=_equality(stage, outcomes, sizes, config),
        sentences=[_sentence([v for v in verdicts if v.temperature == t]) for t in TEMPERATURES],
        chart=size_chart(outcomes, stage.name),
        bars_at=megabytes(largest) if largest else "",
        bars=_bars(shown),
        tables=[(megabytes(s), _rows([o for o in outcomes if o.megabytes == s], config)) for s in sizes],
        figures=[(label_of(o), figures(o)) for o in shown if o.figures],
        failures=[(f"{label_of(o)}, {o.settings}, {megabytes(o.megabytes)}", o) for o in outcomes if o.status != "ok"],
        code=_code(stage),
        modules=sorted({part.__module__ for form in stage.forms for part in (form.run, *form.sources)}),
    )


def _equality(
    stage: Stage, outcomes: Sequence[Outcome], sizes: list[float], config: ComparisonConfig
) -> list[tuple[bool, str]]:
    """Whether the outputs were equal, and a sentence that says so, of sizes with the same answer together."""
    how = {
        "rows": "the same rows", "ordered": "the same rows in the same order",
        "close": f"the same rows, floats within {stage.tolerance:g}",
    }[stage.compared]  # fmt: skip
    told: dict[tuple[bool, str], list[str]] = {}
    for size in reversed(sizes):
        here = [o for o in outcomes if o.megabytes == size]
        wrong = list(dict.fromkeys(label_of(o) for o in here if o.status == "unequal"))
        forms = {o.form: o for o in here if o.status == "ok"}
        if wrong:
            key = False, f"the output of {', '.join(wrong)} differs and shows no time"
        elif len(forms) > 1 and has_oracle(stage, size, config.seed, config.source is None):
            key = True, f"{len(forms)} forms gave {how}, those of a plain Python program"
        elif len(forms) > 1:
            kernels = len({kernel_of(stage, form) for form in forms})
            shared = "of which all share the code that makes them: a fault in it would not show"
            key = (
                True,
                f"{len(forms)} forms gave {how}, " + (f"by {kernels} independent ways" if kernels > 1 else shared),
            )
        elif forms:
            key = False, f"only {label_of(next(iter(forms.values())))} has an output, compared with itself"
        else:
            key = False, "no form has an output"
        rows = next((f" ({o.rows:,} rows)" for o in forms.values() if o.rows is not None), "")
        told.setdefault(key, []).append(megabytes(size) + rows)
    return [(good, f"{', '.join(where)}: {what}.") for (good, what), where in told.items()]


def _sentence(verdicts: Sequence[Verdict]) -> str:
    """``Warm: Spark 8.5× at 10 MB · either at 100 MB. Crossover: none in range.``"""
    if not verdicts:
        return ""
    told = " · ".join(f"{word(v)} at {megabytes(v.megabytes)}" for v in verdicts)
    start = "Warm runs" if verdicts[0].temperature == "warm" else "Cold, with the engine's start"
    return f"{start}: {told}." + (f" {crossover_sentence(verdicts)}" if len(verdicts) > 1 else "")


def crossover_sentence(verdicts: Sequence[Verdict]) -> str:
    """Where the faster engine changes, in words."""
    if found := crossover(verdicts):
        size, below, above = found
        return f"Crossover: about {megabytes(float(f'{size:.2g}'))}, {NAMES[below]} below and {NAMES[above]} above."
    return f"Crossover: none in range ({megabytes(verdicts[0].megabytes)} to {megabytes(verdicts[-1].megabytes)})."


def _bars(outcomes: list[Outcome]) -> list[Bar]:
    parts = []
    for o in outcomes:
        assert o.first
        told = dict(o.figures)
        handoff = told.get("handoff_seconds", 0.0)
        inside = told.get("start_seconds", 0.0) if o.warm is None else 0.0  # of the relay's sessions, within its run
        first = o.first.median - handoff - inside
        work = min(o.warm.median, first) if o.warm else first
        parts.append((o, work, first - work, handoff, inside + (o.start.median if o.start else 0.0)))
    widest = max((sum(p[1:]) for p in parts), default=1.0)
    return [Bar(o, label_of(o), *(100 * seconds / widest for seconds in rest)) for o, *rest in parts]


def _rows(outcomes: list[Outcome], config: ComparisonConfig) -> list[dict[str, Any]]:
    """A row per form: tuned beside default."""
    rows = []
    for form in dict.fromkeys(o.form for o in outcomes):
        by = {o.settings: o for o in outcomes if o.form == form}
        main = by.get("tuned") or by["default"]
        default = by.get("default")
        told = (
            STATUS[default.status]
            if default and default.status != "ok"
            else interval(default.warm if default else None)
        )
        price_of = price(main, config)
        rows.append(
            {
                "outcome": main,
                "label": label_of(main),
                "default": told,
                "price": price_of,
                "why": STATUS.get(main.status),
            }
        )
    return rows


def price(outcome: Outcome, config: ComparisonConfig) -> float | None:
    """Price of a thousand runs, warm ones where there are some: of the core-seconds used, and of the largest memory for the whole time."""
    run = outcome.warm or outcome.first
    if run is None or outcome.cpu_seconds is None or outcome.peak_bytes is None:
        return None
    cores = outcome.cpu_seconds / 3600 * config.core_hour_price
    return 1000 * (cores + outcome.peak_bytes / 1e9 * run.median / 3600 * config.gb_hour_price)


def _code(stage: Stage) -> list[list[tuple[str, str, str]]]:
    columns: dict[str, list[tuple[str, str, str]]] = {"spark": [], "ray": [], "others": []}
    for form in stage.forms:
        place = form.engine if form.engine in columns else "others"
        title = f"{NAMES[form.engine]} {form.variant}"
        columns[place].append((form.engine, title, source_of(form.run, *form.sources)))
    return [column for column in columns.values() if column]


def source_of(*functions: Callable[..., Any]) -> str:
    """A form's code as it is written."""
    return "\n\n\n".join(textwrap.dedent(inspect.getsource(function)).rstrip() for function in functions)
