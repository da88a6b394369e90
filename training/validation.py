"""When to stop: validation during training no longer improves."""

from collections.abc import Sequence
from typing import Any


def patience_is_over(trace: Sequence[dict[str, Any]], patience: int | None) -> bool:
    """Whether the last ``patience`` validations of a trace all stayed above the lowest loss before them.

    A function of the trace alone, so that every rank and every resume decides alike.
    """
    losses = [entry["validation_loss"] for entry in trace if "validation_loss" in entry]
    if patience is None or len(losses) <= patience:
        return False
    return min(losses[-patience:]) >= min(losses[:-patience])
