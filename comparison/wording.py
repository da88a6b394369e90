"""The advisor's answers in words."""

import math
from collections.abc import Iterable, Sequence

from comparison.advisor import Answer, Prediction
from comparison.regret import Validation

NAMES = {
    "spark": "Spark",
    "ray": "Ray",
    "relay": "the relay",
    "polars": "Polars",
    "python": "a process without an engine",
}


def paragraph(answer: Answer) -> str:
    """The advice in a few sentences."""
    best = answer.best
    session = "in a warm session" if answer.warm else "with the session's start"
    rivals = [p for p in _fastest(answer.predictions) if p.engine in answer.among and p.engine != best.engine]
    others = "; ".join(f"{NAMES[p.engine]} {_timed(p)} ({p.form})" for p in rivals)
    head = f"{answer.stage} on {answer.megabytes:g} MB of text: "
    if answer.choice != "either":
        head += f"{NAMES[best.engine]}. It is expected to take {_timed(best)} {session} ({best.form})"
        text = f"{head}; {others}." if others else f"{head}. No other engine has a time."
    else:
        head += f"either of {' and '.join(NAMES[e] for e in answer.engines)}, the intervals overlap. "
        text = f"{head}Expected {session}: {NAMES[best.engine]} {_timed(best)} ({best.form}); {others}."
    for p in _fastest(answer.predictions):
        if p.engine not in answer.among and p.high < best.low:
            text += f" Neither is needed: {NAMES[p.engine]} takes {_timed(p)}."
            break
    failed = "; ".join(f"{form}: {why}" for form, why in sorted(answer.failed.items()))
    return text + (f" Without a time: {failed}." if failed else "")


def table(answer: Answer) -> list[str]:
    """A line per form, the fastest first."""
    rows = [("form", "seconds", "95 % interval", "from")]
    bases = {"measured": "this size, measured", "fitted": "its other sizes", "engine": "its engine's costs"}
    rows += [
        (p.form, _short(p.seconds), f"{_short(p.low)} to {_short(p.high)}", bases[p.basis]) for p in answer.predictions
    ]
    return _columns(rows)


def trust(validations: Sequence[Validation]) -> list[str]:
    """How far the advice can be trusted: how each way to choose did on cells that the advisor had not seen."""
    judged = [v for v in validations if v.cells]
    lines = [f"not validated on {v.unseen}: too few sizes or stages" for v in validations if not v.cells]
    if not judged:
        return lines
    rows = [("", *(f"{v.unseen} ({v.cells} cells)" for v in judged))]
    for name in judged[0].regrets:
        figures = [v.regrets[name] for v in judged]
        rows.append((name, *(" / ".join(map(_percent, (r.median, r.p95, r.maximum))) for r in figures)))
    head = "Slower than the fastest, on what the advisor had not seen (median / 95th percentile / worst):"
    return [head, *_columns(rows), *lines]


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def _fastest(predictions: Iterable[Prediction]) -> list[Prediction]:
    """Of each engine, the fastest form."""
    first: dict[str, Prediction] = {}
    for p in predictions:
        first.setdefault(p.engine, p)
    return list(first.values())


def _timed(p: Prediction) -> str:
    return f"{_short(p.seconds)} s [{_short(p.low)} to {_short(p.high)}]"


def _short(seconds: float) -> str:
    return f"{seconds:.2g}" if seconds < 1 else f"{seconds:.1f}" if seconds < 10 else f"{seconds:,.0f}"


def _percent(share: float) -> str:
    return "failed" if math.isinf(share) else f"{share:.0%}"
