"""Sample rows of the predictions artifact, for people."""

from dataclasses import dataclass, field
from typing import Any

import pyarrow.dataset as ds

from handoff.artifact import Artifact
from handoff.facts import PredictionFacts, facts_of
from handoff.schema import PREDICTIONS, SCORES

COMPARED, TUNED_ONLY, SCORED, FAILED = 8, 12, 20, 20  # rows shown of each sort
LONGEST_TEXT = 1500  # characters shown of one text


@dataclass(frozen=True)
class Samples:
    """Rows as dicts with the columns of ``handoff.schema``, in the order of the artifact."""

    compared: list[dict[str, Any]]  # answered by the base model too
    tuned_only: list[dict[str, Any]]
    failed: list[dict[str, Any]]
    scored: list[dict[str, Any]] = field(default_factory=list)  # completions that were given, of the task score


def read_samples(artifact: Artifact, *, compared: int = COMPARED) -> Samples:
    """The first rows of each sort. Stops reading once they are found."""
    scores = facts_of(artifact.manifest, PredictionFacts).task == "score"
    rows = ds.dataset(
        [artifact.store.locate(artifact.path_of(f))[1] for f in artifact.manifest.files if f.rows is not None],
        filesystem=artifact.store.fs,
        schema=SCORES if scores else PREDICTIONS,
        format="parquet",
    )
    good = ds.field("error").is_null()
    failed = _head(rows, ~good, FAILED)
    if scores:
        return Samples([], [], failed, scored=_head(rows, good, SCORED))
    both = ds.field("baseline").is_valid()
    return Samples(
        compared=_head(rows, good & both, compared),
        tuned_only=_head(rows, good & ~both, TUNED_ONLY),
        failed=failed,
    )


def _head(rows: ds.Dataset, condition: ds.Expression, limit: int) -> list[dict[str, Any]]:
    return rows.scanner(filter=condition, batch_size=1024).head(limit).to_pylist()
