"""``python -m comparison.advise SIZE STAGE [--warm]``: Spark or Ray, from the comparisons that were published.

SIZE is in megabytes of text, or has a unit (``300``, ``300MB``, ``2GB``).
"""

import argparse
import os
import re
import sys

from comparison.advisor import Advisor, Answer
from comparison.fit import Cell
from comparison.form import Form
from comparison.known import known
from comparison.regret import validate
from comparison.stages import stage
from comparison.wording import NAMES, paragraph, table, trust
from handoff.artifact import Artifact
from handoff.errors import ArtifactError, BatonError, ConfigError
from handoff.facts import ComparisonFacts, facts_of
from handoff.home import baton_home
from handoff.store import Store

UNITS = {"": 1.0, "mb": 1.0, "gb": 1e3, "tb": 1e6}


def answer_for(advisor: Advisor, name: str, megabytes: float) -> Answer:
    """What the advisor says of a stage; one that was not measured is judged by the costs of its engines.

    A stage whose time does not depend on the size of the text is asked for at the size that it was measured at.
    """
    known = stage(name)
    sizes = [c.megabytes for c in advisor.cells if c.stage == name]
    if sizes and not known.scales:
        megabytes = sizes[0]
    return advisor.ask(name, megabytes, unmeasured=[_cell(name, form, megabytes) for form in known.forms])


def _cell(name: str, form: Form, megabytes: float) -> Cell:
    return Cell(name, form.engine, form.name, megabytes, form.shuffles, form.python_rows, form.loads_model, ())


def one_line(store: Store, megabytes: float) -> str | None:
    """The advisor's word on every stage for a run with this much text; None where no comparison was published."""
    try:
        if (found := known(store)) is None:
            return None
        advisor = Advisor(found.measurements)
        chosen: dict[str, list[str]] = {}
        refused = ""
        for name in dict.fromkeys(c.stage for c in advisor.cells):
            try:
                chosen.setdefault(answer_for(advisor, name, megabytes).choice, []).append(name)
            except ConfigError as error:
                refused = str(error)
    except BatonError as error:
        return f"engines: no advice ({error})"
    if not chosen:
        return f"engines: no advice ({refused})"
    told = [f"{NAMES.get(engine, engine)} for {', '.join(names)}" for engine, names in sorted(chosen.items())]
    return f"engines, as measured on {found.newest.manifest.created:%Y-%m-%d}: {'; '.join(told)} (make advise)"


def size_of(text: str) -> float:
    """Megabytes of ``300``, ``300MB`` or ``2 GB``. Raises ConfigError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text.lower())
    if not found or found[2] not in UNITS or float(found[1]) <= 0:
        raise ConfigError(f"{text!r} is no size. Remedy: say it like 300, 300MB or 2GB")
    return float(found[1]) * UNITS[found[2]]


def advise(store: Store, size: str, name: str, warm: bool) -> list[str]:
    """The lines that the command prints. Raises BatonError."""
    megabytes = size_of(size)
    stage(name)  # a misspelt one is told before anything is read
    found = known(store)
    if found is None:
        raise ArtifactError(store.uri("comparison"), ["no comparison was published"], "run make compare")
    answer = answer_for(Advisor(found.measurements, warm), name, megabytes)
    sources = [_source(one) for one in found.artifacts]
    return [
        paragraph(answer), "", *table(answer), "", *sources, "",
        *trust(validate(found.measurements, found.superseded, warm)),
    ]  # fmt: skip


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
    parser.add_argument("--warm", action="store_true", help="a run in a session that has run before")
    asked = parser.parse_args(arguments)
    try:
        store = Store(os.environ.get("BATON_STORAGE") or str(baton_home() / "artifacts"))
        print("\n".join(advise(store, asked.size, asked.stage, asked.warm)))
    except BatonError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
