"""``python -m comparison.advise SIZE STAGE``: what the published comparisons of a machine like the last one's measured.

SIZE is in megabytes of text, or has a unit (``300``, ``300MB``, ``2GB``).
"""

import argparse
import os
import re
import sys

from comparison.judge import lookup
from comparison.judge.known import known
from comparison.registry import stage
from handoff.artifact import Artifact
from handoff.errors import ArtifactError, BatonError, ConfigError
from handoff.facts import ComparisonFacts, facts_of
from handoff.home import baton_home
from handoff.store import Store

UNITS = {"": 1.0, "mb": 1.0, "gb": 1e3, "tb": 1e6}


def one_line(store: Store, megabytes: float) -> str | None:
    """What was measured of a run with this much text; None where no comparison was published."""
    try:
        found = known(store)
    except BatonError as error:
        return f"engines: no comparison can be read ({error})"
    return lookup.one_line(found.outcomes, megabytes) if found else None


def size_of(text: str) -> float:
    """Megabytes of ``300``, ``300MB`` or ``2 GB``. Raises ConfigError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text.lower())
    if not found or found[2] not in UNITS or float(found[1]) <= 0:
        raise ConfigError(f"{text!r} is not a size. Remedy: write it like 300, 300MB or 2GB")
    return float(found[1]) * UNITS[found[2]]


def advise(store: Store, size: str, name: str) -> list[str]:
    """The lines that the command prints. Raises BatonError."""
    asked, megabytes = stage(name), size_of(size)  # a misspelt stage is reported before anything is read
    found = known(store)
    if found is None:
        raise ArtifactError(store.uri("comparison"), ["no comparison was published"], "run make compare")
    told = lookup.answer(found.outcomes, name, megabytes, asked.scales)
    return [
        *told,
        *filter(None, [lookup.hand_off(found.outcomes, megabytes)]),
        *(_source(one) for one in found.artifacts),
    ]


def _source(artifact: Artifact) -> str:
    """Where figures come from, in one line."""
    facts = facts_of(artifact.manifest, ComparisonFacts)
    marks = [m for m in ("a first look, with few repeats" if facts.first_look else "", facts.partial or "") if m]
    machine = ", ".join(f"{key} {value}" for key, value in facts.machine.items() if key in ("Processor", "Cores"))
    return f"From {artifact.id}, {artifact.manifest.created:%Y-%m-%d}, {machine}" + "".join(f"; {m}" for m in marks)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m comparison.advise", description=__doc__)
    parser.add_argument("size")
    parser.add_argument("stage")
    asked = parser.parse_args(arguments)
    try:
        store = Store(os.environ.get("BATON_STORAGE") or str(baton_home() / "artifacts"))
        print("\n".join(advise(store, asked.size, asked.stage)))
    except BatonError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
