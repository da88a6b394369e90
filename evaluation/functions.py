"""Metrics of your own: a function of prompt, completion and reference, called on each held-out row."""

import hashlib
import inspect
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evaluation.passages import Passage

log = logging.getLogger("baton")

# Called with a prompt, a model's completion of it and the corpus's own one; returns a number, the higher the better.
MetricFunction = Callable[[str, str, str], float]
Functions = Mapping[str, MetricFunction]


@dataclass(frozen=True)
class Quarantined:
    """A row on which a function failed under one of the models; the metric leaves it out for all of them."""

    metric: str
    row_id: str
    model: str
    error: str


@dataclass
class Judged:
    """A function's values per model, row by row, and the rows that it failed on."""

    values: dict[str, list[float]]
    quarantined: list[Quarantined] = field(default_factory=list)


def identity_of(functions: Functions, names: Sequence[str]) -> dict[str, Any]:
    """Name and source digest of each function that the gate asks for; part of the evaluation's id."""
    return {
        name: {
            "name": f"{functions[name].__module__}.{functions[name].__qualname__}",
            "sha256": hashlib.sha256(inspect.getsource(functions[name]).encode()).hexdigest(),
        }
        for name in names
    }


def judge_rows(
    metric: str, function: MetricFunction, passages: Sequence[Passage], completions: Mapping[str, Sequence[str]]
) -> Judged:
    """Call a function on every row under every model.

    A row on which it raises, or returns what is not a finite number, is left out under all models, so that they are
    compared on the same rows.
    """
    judged = Judged({model: [] for model in completions})
    for number, passage in enumerate(passages):
        row: dict[str, float] = {}
        for model, made in completions.items():
            try:
                row[model] = _number(function(passage.prompt or "", made[number], passage.text))
            except Exception as error:  # of the user's own code, whatever it is
                cause = f"{type(error).__name__}: {error}"
                judged.quarantined.append(Quarantined(metric, passage.row_id, model, cause))
                break
        else:
            for model, value in row.items():
                judged.values[model].append(value)
    if judged.quarantined:
        first = judged.quarantined[0]
        log.info(
            "%s: %d rows are left out, the first is %s (%s)", metric, len(judged.quarantined), first.row_id, first.error
        )
    return judged


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"it returned {value!r}, which is not a finite number")
    return number


def as_json_lines(rows: Sequence[Quarantined]) -> bytes:
    """The quarantined rows, one JSON object a line."""
    return "".join(json.dumps(vars(row), ensure_ascii=False) + "\n" for row in rows).encode()
