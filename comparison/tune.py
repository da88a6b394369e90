"""``python -m comparison.tune ENGINE STAGE [--megabytes 100] [--minutes 20]``: is an engine's tuned setting the best one?

Each setting of ``comparison/engines.py`` is tried with its other values, one at a time, on the engine's forms of a stage, in turns
with the settings as they are. What comes out is a table, kept below BATON_HOME; a value that wins is put into that file by hand.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from comparison.config import ComparisonConfig
from comparison.engines import TUNED
from comparison.form import Engine, Form
from comparison.inputs import make_tables
from comparison.judge.words import megabytes as in_words
from comparison.judge.words import seconds
from comparison.measure.attempt import attempt
from comparison.registry import stage
from comparison.results import Measurement
from comparison.schedule import Cell
from comparison.stages.shared.model import make_model
from handoff.errors import BatonError, ConfigError
from handoff.home import baton_home
from handoff.machine import describe_machine
from handoff.packages import cache_dir

ROUNDS = 3  # processes of each candidate, in turns
WORTH = 0.9  # of the time as it is: a smaller gain is within what two runs of the same differ by


@dataclass(frozen=True)
class Candidate:
    """A setting with another value; the settings as they are where ``name`` is empty."""

    name: str
    value: str

    @property
    def changed(self) -> dict[str, str]:
        return {self.name: self.value} if self.name else {}

    def __str__(self) -> str:
        return f"{self.name}={self.value}" if self.name else "as it is"


def candidates(engine: Engine) -> list[Candidate]:
    """The settings as they are, then each other value."""
    if engine not in TUNED:
        raise ConfigError(f"{engine} has no settings to tune. Remedy: choose from {', '.join(TUNED)}")
    return [Candidate("", ""), *(Candidate(s.name, value) for s in TUNED[engine] for value in s.others)]


def tried(engine: Engine, name: str, size: float, minutes: float) -> dict[str, dict[str, list[float]]]:
    """Cold and warm seconds of each form under each candidate: ``form → candidate → [cold, warm, …]`` by temperature.

    Ends with what it has when the minutes are used up, after whole rounds of candidates only.
    """
    config = ComparisonConfig(stages=(name,), sizes_mb=(size,), processes=1, warm_runs=2, defaults=False)
    home, until = baton_home() / "comparison", time.monotonic() + minutes * 60
    tables = make_tables(config, size, home / "tables", cache_dir())
    options = {"model": str(make_model(home / f"model-seed{config.seed}", config.seed)), "device_seconds": 10.0}
    forms = [form for form in stage(name).forms if form.engine == engine and form.tunable]
    found: dict[str, dict[str, list[float]]] = {}
    for number in range(ROUNDS):
        every = candidates(engine)
        for form in forms:
            for candidate in every if number % 2 == 0 else reversed(every):
                left = until - time.monotonic()
                if left <= 0:
                    return found
                cell = Cell(stage(name), form, "tuned", size, number)
                measured, _ = attempt(
                    cell, config, tables, home / "tune" / "cell", home / "tune" / "kept",
                    options | {"settings": candidate.changed}, min(left, config.cell_timeout_seconds),
                )  # fmt: skip
                _add(found, form, candidate, measured)
    return found


def _add(found: dict[str, dict[str, list[float]]], form: Form, candidate: Candidate, rows: list[Measurement]) -> None:
    by = {phase: [m.seconds for m in rows if m.phase == phase and m.seconds] for phase in ("start", "first", "warm")}
    told = "failed" if any(m.status != "ok" for m in rows) else f"cold {sum(by['start'] + by['first']):.1f} s"
    print(f"{form.name} · {candidate}: {told}", flush=True)
    if told != "failed":
        times = found.setdefault(form.name, {})
        times.setdefault(f"{candidate} cold", []).append(sum(by["start"] + by["first"]))
        times.setdefault(f"{candidate} warm", []).append(median(by["warm"]))


def table(found: dict[str, dict[str, list[float]]]) -> list[str]:
    """A line per form and candidate: median, fastest and slowest process, cold and warm; ``*`` where it is worth a change."""
    lines = []
    for form, times in found.items():
        names = dict.fromkeys(key.rsplit(" ", 1)[0] for key in times)
        for name in names:
            told = []
            for temperature in ("cold", "warm"):
                mine, base = times[f"{name} {temperature}"], times[f"as it is {temperature}"]
                gain = median(mine) / median(base)
                mark = " *" if len(mine) == ROUNDS and gain < WORTH and max(mine) < min(base) else ""
                told.append(
                    f"{temperature} {seconds(median(mine))} ({seconds(min(mine))} to {seconds(max(mine))}, {gain:.2f}){mark}"
                )
            lines.append(f"{form:24} {name:56} {' · '.join(told)}")
    return lines


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m comparison.tune", description=__doc__)
    parser.add_argument("engine")
    parser.add_argument("stage")
    parser.add_argument("--megabytes", type=float, default=100.0)
    parser.add_argument("--minutes", type=float, default=20.0, help="budget; the same for each engine")
    asked = parser.parse_args(arguments)
    try:
        candidates(asked.engine)
        stage(asked.stage)
        found = tried(asked.engine, asked.stage, asked.megabytes, asked.minutes)
    except BatonError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 2
    if not found:
        print("ERROR: the budget ended before the first result. Remedy: raise --minutes", file=sys.stderr)
        return 2
    print("\n".join(table(found)))
    kept = Path(baton_home() / "comparison" / "tune" / f"{asked.engine}-{asked.stage}-{asked.megabytes:g}mb.json")
    facts = {"machine": describe_machine(), "at": datetime.now(UTC).isoformat(), "seconds": found}
    kept.write_text(json.dumps(facts, indent=1))
    print(f"{in_words(asked.megabytes)}, {asked.engine} in {asked.stage}; kept in {kept}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
