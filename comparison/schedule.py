"""The order in which cells are measured: engines in turns, small sizes first, until the time is used up."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from comparison.config import ComparisonConfig
from comparison.form import Form, Stage
from comparison.registry import stages


@dataclass(frozen=True)
class Cell:
    """One fresh process: a form at a size with its settings, and the number of the process from 0."""

    stage: Stage
    form: Form
    settings: Literal["tuned", "default"]
    megabytes: float
    process: int

    @property
    def key(self) -> str:
        """Name of the cell, also as a directory: ``join.spark-broadcast.tuned.10mb.0``."""
        form = self.form.name.replace(" ", "-")
        return f"{self.stage.name}.{form}.{self.settings}.{self.megabytes:g}mb.{self.process}"


def cells_of(config: ComparisonConfig) -> Iterator[Cell]:
    """All cells of a comparison in the order in which they are measured.

    Every round measures each form once. The next round takes the forms backwards (A B, B A, …), so that a machine that
    gets slower or warmer by the hour favours no engine. A comparison that is cut short has whole rounds of small sizes.
    """
    for process in range(config.processes):
        for number, megabytes in enumerate(sorted(config.sizes_mb)):
            for stage in stages(config.stages):
                if number and not stage.scales:
                    continue
                forms = [form for form in stage.forms if form.engine in config.engines]
                pairs = [(form, s) for form in forms for s in _settings(form, config)]
                for form, settings in pairs if process % 2 == 0 else reversed(pairs):
                    yield Cell(stage, form, settings, megabytes, process)


def keys_of(config: ComparisonConfig) -> list[tuple[str, str, str, float]]:
    """Stage, form, settings and megabytes of all that a comparison measures, in the order of its first round."""
    return list(dict.fromkeys((c.stage.name, c.form.name, c.settings, c.megabytes) for c in cells_of(config)))


def _settings(form: Form, config: ComparisonConfig) -> tuple[Literal["tuned", "default"], ...]:
    return ("tuned", "default") if config.defaults and form.tunable else ("tuned",)
