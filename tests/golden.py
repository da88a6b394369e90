"""Golden results: what each stage makes of a small fixed input, kept beside the version of its code in ``golden.json``.

Other contents at the same version fail: a store would go on giving out the old ones. ``make golden`` keeps the contents
of a version that was raised, and of no other.
"""

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from handoff.manifest import canonical

GOLDEN = Path(__file__).with_suffix(".json")
ACCEPT = "BATON_GOLDEN"  # `accept`: keep what there is of a raised version
TOLERANCE = 1e-3  # relative, of figures: processors round sums differently


def check(stage: str, version: int, where: str, contents: Any, figures: list[float] | None = None) -> None:
    """Compare what a stage made with what is kept.

    Args:
        stage: the kind of artifact.
        version: of the code that made it.
        where: file and name of that version.
        contents: JSON types, which are to be equal.
        figures: numbers that are to be equal up to TOLERANCE.
    """
    kept = json.loads(GOLDEN.read_text())
    now = {
        "version": version,
        "digest": hashlib.sha256(canonical(contents).encode()).hexdigest()[:16],
        "figures": [float(f"{figure:.6g}") for figure in figures or []],
    }
    before = kept.get(stage, {"version": 0})
    if version == before["version"]:
        if not _same(before, now):
            pytest.fail(
                f"{stage}: the same input gives other rows, and the version is still {version}, so old results would be "
                f"reused. Remedy: raise {where}, then `make golden`. kept {before}, now {now}"
            )
    elif version < before["version"]:
        pytest.fail(f"{stage}: {where} is {version}, and was {before['version']}: a version never goes back")
    elif os.environ.get(ACCEPT) == "accept":
        GOLDEN.write_text(json.dumps({**kept, stage: now}, indent=2, sort_keys=True) + "\n")
    else:
        pytest.fail(
            f"{stage}: {where} was raised to {version}. Remedy: `make golden` keeps its rows; commit golden.json"
        )


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    pairs = list(zip(one["figures"], other["figures"], strict=False))
    return (
        one["digest"] == other["digest"]
        and len(one["figures"]) == len(other["figures"])
        and all(math.isclose(a, b, rel_tol=TOLERANCE) for a, b in pairs)
    )
