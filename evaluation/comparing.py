"""Two models on the same rows: the change between them, and how certain it is."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 2000
BATCH_VALUES = 4_000_000  # that one batch of resamples holds at a time, 32 MB each


class Change(NamedTuple):
    """A change and its interval of CONFIDENCE."""

    change: float
    low: float
    high: float


def ratio_of_perplexities(tuned: Sequence[tuple[float, int]], other: Sequence[tuple[float, int]]) -> Change:
    """Tuned / other perplexity over the same passages.

    Args:
        tuned, other: per passage the negative log-likelihood in nats and the number of predicted tokens.
    """

    def statistic(a: Any, n: Any, b: Any, m: Any, axis: int = -1) -> Any:
        return np.exp(a.sum(axis) / n.sum(axis) - b.sum(axis) / m.sum(axis))

    return _paired(statistic, *_columns(tuned), *_columns(other))


def ratio_of_rates(tuned: Sequence[tuple[float, int]], other: Sequence[tuple[float, int]]) -> Change:
    """Tuned / other negative log-likelihood per byte over the same passages; arguments with bytes in place of tokens."""

    def statistic(a: Any, n: Any, b: Any, m: Any, axis: int = -1) -> Any:
        return (a.sum(axis) / n.sum(axis)) / (b.sum(axis) / m.sum(axis))

    return _paired(statistic, *_columns(tuned), *_columns(other))


def gain(tuned: Sequence[float], other: Sequence[float], higher_is_better: bool = True) -> Change:
    """By how much the tuned model's mean over the same rows is better; negative where it is worse."""
    sign = 1 if higher_is_better else -1

    def statistic(a: Any, b: Any, axis: int = -1) -> Any:
        return sign * (a.mean(axis) - b.mean(axis))

    return _paired(statistic, np.asarray(tuned, float), np.asarray(other, float))


def _columns(rows: Sequence[tuple[float, int]]) -> tuple[Any, Any]:
    values, weights = zip(*rows, strict=True)
    return np.asarray(values, float), np.asarray(weights, float)


def _paired(statistic: Any, *columns: Any) -> Change:
    """The percentile bootstrap over rows, each drawn with its values under both models (Efron & Tibshirani, 1993).

    The interval is not bias-corrected (BCa): that needs a value per left-out row and fails where all rows are equal.

    Raises:
        ValueError: there are fewer than two rows.
    """
    from scipy.stats import bootstrap

    if len(columns[0]) < 2:
        raise ValueError("one row alone says nothing about how certain a comparison is")
    found = bootstrap(
        columns,
        statistic,
        paired=True,
        vectorized=True,
        method="percentile",
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        batch=max(1, min(RESAMPLES, BATCH_VALUES // len(columns[0]))),
        rng=np.random.default_rng(0),  # the same scores give the same interval
    )
    return Change(
        float(statistic(*columns)), float(found.confidence_interval.low), float(found.confidence_interval.high)
    )
