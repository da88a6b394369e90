"""Measurements made up for tests of the page and the verdicts: times follow ``fixed + rate x MB``, with a small spread."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from comparison.form import Form, Stage, Work
from comparison.results import Measurement, Status

BEGAN = datetime(2026, 11, 26, 9, 30, tzinfo=UTC)
START = {"spark": 6.1, "ray": 5.4, "relay": 0.2, "polars": 0.3, "python": 0.2}
MACHINE = {"Processor": "A processor (x86_64)", "Cores": "2 usable of 2", "Memory": "24.0 GiB", "GPU": "none"}


def cell(
    form: str,
    megabytes: float,
    warm: float,
    *,
    stage: str = "join",
    extra: float = 1.0,
    processes: int = 5,
    warm_runs: int = 3,
    spread: float = 0.02,
    settings: str = "tuned",
    digest: str = "1000:00000000000000aa",
    figures: dict[str, float] | None = None,
) -> list[Measurement]:
    """All measurements of a form at a size: a start, a first run and warm runs in each process.

    Args:
        form: ``spark sql``.
        warm: seconds of a warm run.
        extra: seconds that the first run takes longer.
        spread: standard deviation of a process's speed, as a share.
    """
    engine, _, variant = form.partition(" ")
    drawn = np.random.default_rng(len(form) + int(megabytes))
    found = []
    for process in range(processes):
        pace = float(np.exp(drawn.normal(0, spread)))
        base = Measurement(
            stage=stage, engine=engine, variant=variant, settings=settings, megabytes=megabytes,  # type: ignore[arg-type]
            process=process, phase="start", run=0, status="ok", seconds=START[engine] * pace, cpu_seconds=4.0,
            peak_bytes=400_000_000, foreign_cores=0.01, load=0.3, digest=None, rows=None, message="",
            started=BEGAN + timedelta(minutes=process), lines=7, spilled_bytes=0,
        )  # fmt: skip
        ran = replace(base, phase="first", seconds=(warm + extra) * pace, digest=digest, rows=1000, figures=figures or {},
                      cpu_seconds=1.9 * warm + 2, peak_bytes=int(5e8 + 3e6 * megabytes))  # fmt: skip
        found += [base, ran]
        for run in range(warm_runs):
            jitter = float(np.exp(drawn.normal(0, spread / 2)))
            found.append(
                replace(ran, phase="warm", run=run, seconds=warm * pace * jitter, cpu_seconds=1.8 * warm * pace)
            )
    return found


def line(form: str, fixed: float, rate: float, sizes: tuple[float, ...], **rest: object) -> list[Measurement]:
    """A form at several sizes, whose warm time is ``fixed + rate * megabytes``."""
    return [m for size in sizes for m in cell(form, size, fixed + rate * size, **rest)]  # type: ignore[arg-type]


def failing(form: str, megabytes: float, status: Status, message: str, *, stage: str = "join") -> list[Measurement]:
    """A form that got no further than its first run."""
    start, first = cell(form, megabytes, 1.0, stage=stage, processes=1, warm_runs=0)
    return [start, replace(first, status=status, seconds=None, cpu_seconds=None, peak_bytes=None, message=message)]


def unequal(measurements: list[Measurement]) -> list[Measurement]:
    """The same with another output, as the comparison marks it."""
    why = "its output is 999:bb, most forms' is 1000:aa"
    return [replace(m, status="unequal", seconds=None, message=why) for m in measurements]


def sample_form(work: Work) -> None:
    """Stands for a form's code on the page."""
    print(f"<b>{work.megabytes} & more</b>")


def stage_named(
    name: str, title: str = "", forms: tuple[str, ...] = ("spark sql", "ray map", "polars one process")
) -> Stage:
    """A stage whose forms all have the code of :func:`sample_form`."""
    made = tuple(Form(form.partition(" ")[0], form.partition(" ")[2], sample_form) for form in forms)  # type: ignore[arg-type]
    return Stage(name, title or name.capitalize(), f"How fast is {name}?", made)


def stages(*measured: Measurement) -> Callable[[str], Stage]:
    """Finds stages by name, with the forms that were measured."""
    forms: dict[str, dict[str, None]] = {}
    for m in measured:
        forms.setdefault(m.stage, {})[m.form] = None
    return lambda name: stage_named(name, forms=tuple(forms[name]))


def whole() -> list[Measurement]:
    """A comparison with something of everything: wins of each engine, a crossover, ties, failures, the whole chain."""
    sizes = (10.0, 100.0, 300.0, 1000.0)
    found = [
        *line("spark sql", 0.5, 0.03, sizes, stage="clean"),
        *line("spark mapInArrow", 0.9, 0.05, sizes, stage="clean"),
        *line("ray map_batches", 1.6, 0.031, sizes, stage="clean"),
        *line("polars one process", 0.1, 0.02, sizes, stage="clean"),
        *line("spark sql", 0.5, 0.03, sizes, stage="clean", settings="default"),
        *line("ray map_batches", 3.6, 0.05, sizes, stage="clean", settings="default"),
        *line("spark sql", 0.9, 0.04, sizes, stage="deduplicate"),
        *line("ray keyed", 14.0, 0.015, sizes, stage="deduplicate"),
        *line("polars one process", 0.2, 0.03, sizes[:3], stage="deduplicate"),
        *failing("polars one process", 1000, "memory", "it was killed, probably for its memory", stage="deduplicate"),
        *line("spark broadcast", 0.5, 0.01, sizes, figures={"shuffle_seconds": 0.4, "files": 12.0}),
        *line("spark sort-merge", 0.8, 0.03, sizes),
        *line("ray join", 20.0, 0.03, sizes[:3]),
        *line("ray broadcast", 3.0, 0.045, sizes),
        *failing("ray join", 1000, "timeout", "not done after 900 s"),
        *unequal(line("spark sort-merge", 5.0, 0.3, sizes[:1], stage="order")),
        *line("spark range", 1.2, 0.04, sizes, stage="order"),
        *line("ray sort", 1.25, 0.041, sizes, stage="order", spread=0.1),
        *cell(
            "spark barrier", 10, 0.46, stage="feed", figures={"first_batch_seconds": 0.45, "rows_per_second": 21_000.0}
        ),
        *cell("ray streaming_split", 10, 6.7, stage="feed", figures={"first_batch_seconds": 6.6}),
        *cell("spark retry", 10, 73.0, stage="recover"),
        *cell("ray restart", 10, 51.7, stage="recover", figures={"restarts": 1.0, "lost_seconds": 9.0}),
    ]
    parts = {"etl_seconds": 30.0, "train_seconds": 60.0, "predict_seconds": 25.0}
    for form, warm in (("spark alone", 131.0), ("ray alone", 158.0), ("relay hand-off", 118.0)):
        found += cell(form, 10, warm, stage="chain", figures=parts)
    order = ("clean", "deduplicate", "join", "order", "feed", "recover", "chain")
    return sorted(found, key=lambda m: order.index(m.stage))
