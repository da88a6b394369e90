"""What was measured: one row per run of a form, and the Parquet table that others can refit."""

from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from handoff.artifact import Artifact
from handoff.store import resolve

Phase = Literal["start", "first", "warm"]
RESULTS = "results.parquet"  # the artifact's one file
# An output that differs, a time limit, memory, an error, foreign load: results too, shown as such and without a time.
# ``missing`` stands for a form whose turn never came; no measurement has it.
Status = Literal["ok", "unequal", "timeout", "memory", "failed", "loaded", "missing"]


@dataclass(frozen=True)
class Measurement:
    """One timed piece of work.

    Attributes:
        stage: name of the stage.
        engine: that did it.
        variant: of the engine's ways.
        settings: ``tuned`` for this size and machine, or the engine's ``default``.
        megabytes: of text.
        process: number of the process, from 0: each cell is measured in several fresh processes.
        phase: ``start`` of the engine's session, the ``first`` run in it, or a ``warm`` one.
        run: number of the warm run, from 0.
        status: ``ok``, or why no time is shown.
        seconds: of the wall clock; None unless ``ok``.
        cpu_seconds: of all processes of the cell while it ran.
        peak_bytes: largest proportional set size of all of them together, sampled once a second.
        spilled_bytes: that the engine wrote to disk for lack of memory; None where it does not say.
        foreign_cores: mean cores that other processes of the machine used meanwhile.
        load: the machine's load average over one minute, before.
        digest: of the output.
        rows: of the output.
        figures: of the form's own, such as seconds to the first batch.
        message: of a failure, in one sentence.
        started: UTC.
        lines: of code that the form has.
    """

    stage: str
    engine: str
    variant: str
    settings: Literal["tuned", "default"]
    megabytes: float
    process: int
    phase: Phase
    run: int
    status: Status
    seconds: float | None
    cpu_seconds: float | None
    peak_bytes: int | None
    spilled_bytes: int | None
    foreign_cores: float | None
    load: float | None
    digest: str | None
    rows: int | None
    message: str
    started: datetime
    lines: int
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def form(self) -> str:
        """Name of the form within its stage: ``spark sql``."""
        return f"{self.engine} {self.variant}"


SCHEMA = pa.schema(
    [
        ("stage", pa.string()),
        ("engine", pa.string()),
        ("variant", pa.string()),
        ("settings", pa.string()),
        ("megabytes", pa.float64()),
        ("process", pa.int32()),
        ("phase", pa.string()),
        ("run", pa.int32()),
        ("status", pa.string()),
        ("seconds", pa.float64()),
        ("cpu_seconds", pa.float64()),
        ("peak_bytes", pa.int64()),
        ("spilled_bytes", pa.int64()),
        ("foreign_cores", pa.float64()),
        ("load", pa.float64()),
        ("digest", pa.string()),
        ("rows", pa.int64()),
        ("message", pa.string()),
        ("started", pa.timestamp("us", tz="UTC")),
        ("lines", pa.int32()),
        ("figures", pa.map_(pa.string(), pa.field("figures", pa.float64()))),  # the name that Parquet gives back
    ]
)


def to_table(measurements: list[Measurement]) -> pa.Table:
    """Measurements as a table of ``SCHEMA``, in their order."""
    rows = [{**asdict(m), "figures": list(m.figures.items())} for m in measurements]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def from_table(table: pa.Table) -> list[Measurement]:
    """The measurements of a table that :func:`to_table` made."""
    names = [f.name for f in fields(Measurement)]
    return [
        Measurement(**{n: row[n] for n in names if n != "figures"}, figures=dict(row["figures"] or []))
        for row in table.to_pylist()
    ]


def read_results(artifact: Artifact) -> list[Measurement]:
    """The measurements of a published comparison."""
    filesystem, path = resolve(artifact.files()[0])
    return from_table(pq.read_table(path, filesystem=filesystem, schema=SCHEMA))
