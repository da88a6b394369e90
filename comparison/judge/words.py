"""Names, times and sizes of a comparison as people read them."""

from comparison.judge.outcomes import Estimate, Outcome

NAMES = {"spark": "Spark", "ray": "Ray", "relay": "Relay", "polars": "Polars", "python": "Python"}
STATUS = {
    "unequal": "unequal output", "timeout": "timeout", "memory": "out of memory", "failed": "failed",
    "loaded": "machine was busy", "missing": "not measured",
}  # fmt: skip


def label_of(outcome: Outcome) -> str:
    """A form in words: ``Spark sort-merge``."""
    return f"{NAMES[outcome.engine]} {outcome.variant.replace('_', ' ')}"


def times(factor: float) -> str:
    """``8.5×``, ``12×``."""
    return f"{factor:.0f}×" if factor >= 9.95 else f"{factor:.1f}×" if factor >= 1.095 else f"{factor:.2f}×"


def megabytes(size: float) -> str:
    """``10 MB``, ``1 GB``, ``1.5 GB``."""
    return f"{size / 1000:.3g}\u202fGB" if size >= 1000 else f"{size:.3g}\u202fMB"


def seconds(value: float | None) -> str:
    """``0.45 s``, ``8.2 s``, ``120 s``: two or three digits."""
    if value is None:
        return "–"
    return f"{value:.2f}\u202fs" if value < 0.995 else f"{value:.1f}\u202fs" if value < 99.5 else f"{value:.0f}\u202fs"


def interval(estimate: Estimate | None) -> str:
    """``8.2 s (7.9–8.8)``; ``8.2 s`` where there are too few processes for an interval."""
    if estimate is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return seconds(estimate.median)
    low, high = (seconds(v).removesuffix("\u202fs") for v in (estimate.low, estimate.high))
    return f"{seconds(estimate.median)} ({low}–{high})"


def figures(outcome: Outcome) -> str:
    """The form's own figures: ``first batch 0.45 s · rows 1,200``."""
    told = []
    for name, value in outcome.figures:
        if name.endswith("_seconds"):
            told.append(f"{name.removesuffix('_seconds').replace('_', ' ')} {seconds(value)}")
        else:
            told.append(f"{name.replace('_', ' ')} {value:,.4g}")
    return " · ".join(told)
