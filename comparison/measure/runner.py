"""Measures all cells of a comparison one after the other; a journal lets a retry go on where an attempt was killed."""

import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from comparison.config import METHOD_PROCESSES, ComparisonConfig
from comparison.form import Stage
from comparison.judge.equality import judged
from comparison.judge.oracle import right_digest
from comparison.judge.outcomes import outcomes_of
from comparison.judge.verdict import EITHER, OPEN, TEMPERATURES, time_of, verdicts_of
from comparison.measure.attempt import attempt
from comparison.registry import stage
from comparison.results import Measurement
from comparison.schedule import Cell, cells_of
from handoff.job import log

# Of the cell's own cores, used by others while it started and ran: such a cell is thrown away and measured again. The machine's
# own services take a hundredth; a build in the next window takes a core.
FOREIGN_SHARE = 0.1
ATTEMPTS = 3  # then the cell is shown as loaded, without a time


@dataclass(frozen=True)
class Runner:
    """Measures what a configuration asks for.

    Attributes:
        config: the comparison.
        tables: of a size in megabytes, the directory of its input.
        model: directory of the model that stages which train or infer start from.
        scratch: local directory of this comparison alone: its journal, outputs to compare, the process at work.
        deadline: monotonic seconds when the time is used up.
    """

    config: ComparisonConfig
    tables: Callable[[float], Path]
    model: Path
    scratch: Path
    deadline: float

    def measure(self) -> tuple[list[Measurement], str | None]:
        """All measurements with unequal outputs marked, and why they are not all that was asked for, or None."""
        cells = list(cells_of(self.config))
        known = self._journalled()
        if known:
            log.info("%d of %d cells were measured by an earlier attempt at this run", len(known), len(cells))
        found: list[Measurement] = []
        for number, cell in enumerate(cells):
            if cell.key not in known and settled(cell, found):
                continue
            measured = known.get(cell.key) or self._cell(cell)
            if measured is None:
                left = f"{len(cells) - number} of {len(cells)} cells were not measured: the time was used up"
                return self._judged(found), left
            if cell.key not in known:
                self._note(cell, measured)
                log.info("%s", _line(number + 1, len(cells), cell, measured))
            found += measured
        return self._judged(found), None

    def _judged(self, found: list[Measurement]) -> list[Measurement]:
        def right_of(one: Stage, megabytes: float) -> str | None:
            tables, made_up = self.tables(megabytes), self.config.source is None
            return right_digest(one, megabytes, tables, self.config.seed, made_up)

        return judged(found, stage, self.kept, right_of)

    @property
    def kept(self) -> Path:
        """Directory of the outputs that are compared as floats."""
        return self.scratch / "kept"

    def _cell(self, cell: Cell) -> list[Measurement] | None:
        """What a cell gave; None where the comparison's time ended before or in it."""
        measured: list[Measurement] = []
        for _ in range(ATTEMPTS):
            left = self.deadline - time.monotonic()
            if left <= 0:
                return None
            timeout = min(self.config.cell_timeout_seconds, left)
            given = {"device_seconds": self.config.device_seconds, "model": str(self.model)}
            measured, ended = attempt(
                cell,
                self.config,
                self.tables(cell.megabytes),
                self.scratch / "cell",
                self.kept / cell.key,
                given,
                timeout,
            )
            if not ended and timeout < self.config.cell_timeout_seconds:
                return None
            foreign = max((m.foreign_cores or 0.0 for m in measured), default=0.0)
            if foreign <= FOREIGN_SHARE * self.config.usable_cores:
                return measured
            log.info("  %s: other processes took %.2f cores meanwhile; it is measured again", cell.key, foreign)
        return [replace(m, status="loaded", seconds=None, message="other processes were at work") for m in measured]

    @property
    def _journal(self) -> Path:
        return self.scratch / "journal.jsonl"

    def _note(self, cell: Cell, measured: list[Measurement]) -> None:
        rows = [{**dataclasses.asdict(m), "started": m.started.isoformat()} for m in measured]
        with self._journal.open("a") as file:
            file.write(json.dumps([cell.key, rows]) + "\n")

    def _journalled(self) -> dict[str, list[Measurement]]:
        """Cells that an earlier attempt at this comparison measured, by key."""
        if not self._journal.exists():
            return {}
        whole, _, cut = self._journal.read_text().rpartition("\n")
        if cut:  # by a kill: the next line must not be appended to it
            self._journal.write_text(whole + "\n" if whole else "")
        lines = [json.loads(line) for line in whole.splitlines()]
        return {
            key: [Measurement(**{**row, "started": datetime.fromisoformat(row["started"])}) for row in rows]
            for key, rows in lines
        }


def settled(cell: Cell, found: list[Measurement]) -> bool:
    """Whether another process of a cell would change no verdict.

    It would not where the form has failed, where another form of its engine is more than twice as fast from the first process
    on, or where enough processes have decided the stage at this size.
    """
    if cell.process == 0:
        return False
    mine = [m for m in found if (m.stage, m.megabytes, m.settings) == (cell.stage.name, cell.megabytes, cell.settings)]
    outcomes = outcomes_of(mine)
    form = next((o for o in outcomes if o.form == cell.form.name), None)
    if form is None or form.status == "loaded":
        return False
    if form.status != "ok":
        return True
    rivals = [o for o in outcomes if o.status == "ok" and o.engine == form.engine and o is not form]
    if any(all(2 * time_of(o, t).median < time_of(form, t).median for t in TEMPERATURES) for o in rivals):
        return True
    return cell.process >= METHOD_PROCESSES and all(
        v.winner not in (EITHER, OPEN) for t in TEMPERATURES for v in verdicts_of(outcomes, t)
    )


def _line(number: int, total: int, cell: Cell, measured: list[Measurement]) -> str:
    """A cell's result for the log: ``3/40 join 10 MB · spark broadcast (tuned): start 6.1 s · first 2.0 s · warm 0.9 s``."""
    times: dict[str, list[float]] = {}
    for m in measured:
        if m.seconds is not None:
            times.setdefault(m.phase, []).append(m.seconds)
    told = [f"{phase} {sorted(seconds)[len(seconds) // 2]:.1f} s" for phase, seconds in times.items()]
    told += [f"{m.status}: {m.message}" for m in measured if m.status != "ok"][:1]
    where = f"{cell.stage.name} {cell.megabytes:g} MB · {cell.form.name} ({cell.settings})"
    return f"{number}/{total} {where}: {' · '.join(told)}"
