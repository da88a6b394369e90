"""Decisions from validation during training: when to stop, and which weights are best."""

import math
from collections.abc import Sequence
from typing import Any


def patience_is_over(trace: Sequence[dict[str, Any]], patience: int | None) -> bool:
    """Whether the last ``patience`` validations of a trace all stayed above the lowest loss before them.

    A function of the trace alone, so that every rank and every resume decides alike.
    """
    losses = [loss for _, loss in validated(trace)]
    if patience is None or len(losses) <= patience:
        return False
    return min(losses[-patience:]) >= min(losses[:-patience])


def best_step(trace: Sequence[dict[str, Any]]) -> int | None:
    """The step whose validation loss was the lowest, the earliest of equals; None before the first validation."""
    numbers = [found for found in validated(trace) if math.isfinite(found[1])]
    return min(numbers, key=lambda found: found[1], default=(None, 0.0))[0]


def validated(trace: Sequence[dict[str, Any]]) -> list[tuple[int, float]]:
    """Step and loss of every validation."""
    return [(entry["step"], entry["validation_loss"]) for entry in trace if "validation_loss" in entry]
