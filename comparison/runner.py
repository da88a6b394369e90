"""Measures all cells of a comparison one after the other; a journal lets a retry go on where an attempt was killed."""

import dataclasses
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from comparison.attempt import attempt
from comparison.config import ComparisonConfig
from comparison.equality import judged
from comparison.results import Measurement
from comparison.schedule import Cell, cells_of
from comparison.stages import stage
from handoff.job import log

# Of the machine, used by others while a cell ran: such a cell is thrown away and measured again. The machine's own
# services take a hundredth; a build in the next window takes a core.
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
            measured = known.get(cell.key) or self._cell(cell)
            if measured is None:
                left = f"{len(cells) - number} of {len(cells)} cells were not measured: the time was used up"
                return judged(found, stage, self.kept), left
            if cell.key not in known:
                self._note(cell, measured)
                log.info("%s", _line(number + 1, len(cells), cell, measured))
            found += measured
        return judged(found, stage, self.kept), None

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
            foreign = max((m.foreign_cores or 0.0 for m in measured if m.phase != "start"), default=0.0)
            if foreign <= FOREIGN_SHARE * (os.cpu_count() or 1):
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
