"""Settings of a comparison, and its two presets: a first look of minutes, and the whole method, which takes hours."""

import os
from typing import Self

from pydantic import Field, model_validator

from comparison.form import ENGINES, Engine
from comparison.registry import NAMES, require_known
from etl.config import SourceConfig
from handoff.errors import ConfigError
from handoff.manifest import Frozen
from handoff.text import Name

METHOD_PROCESSES, METHOD_WARM_RUNS = 5, 3  # fewer are a first look, and marked so
RAY_STORE = 0.3  # of memory_gib, Ray's own default share for objects; the rest is its workers' heaps
BYTES_PER_MB = 5  # of disk per byte of text: the tables, an output, what a shuffle spills twice


class ComparisonConfig(Frozen):
    """What is compared, at which sizes, how often, and with how much of the machine."""

    source: SourceConfig | None = Field(
        default=None, description="raw files to measure on; unset: documents made up from the seed"
    )
    sizes_mb: tuple[float, ...] = Field(
        default=(10.0,), description="megabytes of text to measure at, each once", min_length=1
    )
    stages: tuple[Name, ...] = Field(default=NAMES, description="stages to measure", min_length=1, examples=list(NAMES))
    engines: tuple[Engine, ...] = Field(
        default=ENGINES,
        description="engines to measure; polars and python are what one process does without an engine",
        min_length=1,
        examples=list(ENGINES),
    )
    processes: int = Field(
        default=METHOD_PROCESSES,
        description="fresh processes per form and size, engines in turns; five give an interval, more only where it decides nothing",
        ge=1,
        le=20,
    )
    warm_runs: int = Field(
        default=METHOD_WARM_RUNS, description="runs after the first one in each process", ge=0, le=50
    )
    defaults: bool = Field(
        default=True, description="whether to measure each engine with its own default settings as well"
    )
    budget_minutes: float = Field(
        default=360.0, description="when to stop: what was measured by then is published, marked as partial", gt=0
    )
    cell_timeout_seconds: float = Field(
        default=900.0, description="longest time for one process; a form that takes longer is shown as a timeout", gt=0
    )
    cores: int | None = Field(default=None, description="CPU cores for each engine; unset: all of this machine", ge=1)
    memory_gib: float = Field(
        default=4.0,
        description="memory for all processes of a form together, page cache included; the kernel ends what goes beyond",
        ge=1,
    )
    device_seconds: float = Field(
        default=60.0, description="length of the device's work in the stage `overlap`", gt=0, le=3600
    )
    core_hour_price: float = Field(default=0.04, description="price of a core for an hour", ge=0)
    gb_hour_price: float = Field(default=0.005, description="price of 1 GB of memory for an hour", ge=0)
    currency: Name = Field(default="USD", description="of both prices", pattern="^[A-Z]{3}$")
    seed: int = Field(default=0, description="of made-up documents and whatever is drawn", ge=0)

    @model_validator(mode="after")
    def _known(self) -> Self:
        try:
            for name in self.stages:
                require_known(name)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        if any(size <= 0 or size > 1e6 for size in self.sizes_mb):
            raise ValueError("a size is not between 0 and 1,000,000 MB")
        for name in ("sizes_mb", "stages", "engines"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"{name} has a value twice")
        return self

    @property
    def first_look(self) -> bool:
        """Whether there are fewer repeats than the method asks for."""
        return self.processes < METHOD_PROCESSES or self.warm_runs < METHOD_WARM_RUNS or not self.defaults

    @property
    def usable_cores(self) -> int:
        """Cores that each engine gets. Raises ConfigError where the machine has fewer than are asked for."""
        there = len(os.sched_getaffinity(0))
        if self.cores and self.cores > there:
            raise ConfigError(f"cores is {self.cores}, this machine has {there}. Remedy: lower comparison.cores")
        return self.cores or there

    @property
    def disk_bytes(self) -> int:
        """Room that the largest size needs, beside the tables of the others."""
        return int((max(self.sizes_mb) * BYTES_PER_MB + sum(self.sizes_mb)) * 1e6)


def first_look() -> ComparisonConfig:
    """The stages of data at 10 MB, one process per form with one warm run, tuned settings only: times, no verdicts."""
    return ComparisonConfig(
        processes=1, warm_runs=1, defaults=False, budget_minutes=30, cell_timeout_seconds=240, device_seconds=10
    )


def whole_method() -> ComparisonConfig:
    """10, 100, 300 and 1,000 MB, five processes or more for each form that may be its engine's fastest, in three hours."""
    return ComparisonConfig(sizes_mb=(10, 100, 300, 1000), processes=8, budget_minutes=180, cell_timeout_seconds=3600)
