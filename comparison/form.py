"""What a stage of the comparison is: one question, and its forms on each engine, which must give equal outputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

# python: one process or torchrun, without an engine. relay: Spark and then Ray, which the form starts itself.
Engine = Literal["spark", "ray", "polars", "python", "relay"]
ENGINES: tuple[Engine, ...] = ("spark", "ray", "polars", "python", "relay")
Compared = Literal["rows", "ordered", "close"]


Rows = list[dict[str, Any]]


class Oracle(Protocol):
    """Makes a stage's right output from the rows of ``documents`` and ``metadata``, in their order."""

    def __call__(self, documents: Rows, metadata: Rows, seed: int) -> Rows: ...


@dataclass(frozen=True)
class Work:
    """What a form is given for one run.

    Attributes:
        tables: directory of the input: ``documents/`` and ``metadata/`` in Parquet (see ``comparison.data``).
        output: a directory that does not exist yet; the form writes its result there, in Parquet.
        scratch: a directory of this process, kept between its runs: checkpoints, models loaded once.
        megabytes: of text in ``documents``.
        cores: CPUs that the form may use.
        memory_bytes: that all processes of the form may hold together.
        tuned: whether the form may choose settings for this size and machine; else the engine's defaults hold.
        seed: of whatever is drawn.
        spark: the Spark session, for forms of that engine.
        options: settings of single stages, such as the model's directory.
    """

    tables: Path
    output: Path
    scratch: Path
    megabytes: float
    cores: int
    memory_bytes: int
    tuned: bool = True
    seed: int = 0
    spark: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def documents(self) -> str:
        """Directory of the table ``document_id long, source string, text string``."""
        return str(self.tables / "documents")

    @property
    def metadata(self) -> str:
        """Directory of the table ``document_id long, licence string, year int``; one row in ten has no document."""
        return str(self.tables / "metadata")


@dataclass(frozen=True)
class Form:
    """One way to do a stage on one engine.

    Attributes:
        engine: that does it.
        variant: of the engine's ways, in a word: ``sql``, ``broadcast``.
        run: does the work and writes its output. May return figures of its own (seconds to the first batch).
        kernel: name of the code that makes its rows, where other forms of the stage share it: together they have one
            vote on the right output. Empty: code of its own.
        sources: functions and classes of its own besides ``run``; shown on the page, and their lines count.
        cold_only: its runs hold whole sessions, so that none of them is warm: it is run once in each process.
        tunable: whether ``Work.tuned`` makes a difference; the form is then measured with the defaults as well.
    """

    engine: Engine
    variant: str
    run: Callable[[Work], dict[str, float] | None]
    kernel: str = ""
    tunable: bool = True
    cold_only: bool = False
    sources: tuple[Callable[..., Any], ...] = ()

    @property
    def name(self) -> str:
        """Of the form within its stage: ``spark sql``."""
        return f"{self.engine} {self.variant}"


@dataclass(frozen=True)
class Stage:
    """One question, and its forms.

    Attributes:
        name: on the command line and in the results: ``join``.
        title: for people.
        question: what the stage stands for, in one sentence.
        forms: each way to do it; at least one of Spark and one of Ray.
        compared: ``rows`` as a multiset, ``ordered`` rows in the order of the files' names, ``close`` for floats.
        tolerance: for ``close``: largest absolute difference of a float.
        scales: whether its time depends on the size of the text; a stage that does not is measured at one size.
        oracle: makes the right rows in plain Python, with no code that a form has; None where there is none.
    """

    name: str
    title: str
    question: str
    forms: tuple[Form, ...]
    compared: Compared = "rows"
    tolerance: float = 0.0
    scales: bool = True
    oracle: Oracle | None = None

    def form(self, name: str) -> Form:
        """The form of this name (``spark sql``). Raises KeyError."""
        return {form.name: form for form in self.forms}[name]
