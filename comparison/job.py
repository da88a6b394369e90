"""``python -m comparison.job RUN_DIR``: measures the same stages on Spark and on Ray, and publishes the results.

The artifact has one table, ``results.parquet`` (see ``comparison.results``). ``comparison.report`` makes the page of it.
"""

import os
import shutil
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from comparison.config import ComparisonConfig
from comparison.engines import SETTINGS
from comparison.inputs import make_tables
from comparison.judge.verdict import summary_lines
from comparison.measure.needs import require_disk, require_engines
from comparison.measure.runner import Runner
from comparison.results import RESULTS, SCHEMA, Measurement, to_table
from comparison.schedule import keys_of
from comparison.stages.shared.model import make_model
from handoff.artifact import Artifact
from handoff.errors import ConfigError
from handoff.facts import ComparisonFacts, facts_of
from handoff.home import baton_home
from handoff.job import log, run_stage
from handoff.machine import describe_machine
from handoff.packages import cache_dir
from handoff.publish import NO_CODE, Staging, obtain
from handoff.run_dir import RunDir, StageRecord


def body(run: RunDir, record: StageRecord) -> None:
    """Measure, judge, publish; a run whose artifact is published already is done."""
    config = run.section("comparison", ComparisonConfig)
    identity = {"run": run.name, **config.model_dump(mode="json")}  # measured anew by each run, not by each retry

    def make(place: Staging) -> Artifact:
        made = publish(place, config, *measure(run, record, config))
        shutil.rmtree(scratch_of(run))  # not before: a retry goes on with what was measured
        return made

    artifact, record.reused = obtain(run.store, "comparison", NO_CODE, identity, [], make)
    record.artifact = artifact.id
    facts = facts_of(artifact.manifest, ComparisonFacts)
    record.headline = f"{facts.measurements} measurements" + (", partial" if facts.partial else "")


def scratch_of(run: RunDir) -> Path:
    """Where a run keeps what it measured until that is published."""
    return baton_home() / "comparison" / "runs" / run.name


def measure(run: RunDir, record: StageRecord, config: ComparisonConfig) -> tuple[list[Measurement], str | None]:
    """Measure every stage on every engine. Returns the measurements, and what is missing where the time was up."""
    home = baton_home() / "comparison"
    home.mkdir(parents=True, exist_ok=True)
    require_engines(config.engines)
    require_disk(config, home)
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # DeepSpeed else warns that it found no other
    with record.phase("tables"):
        model = make_model(home / f"model-seed{config.seed}", config.seed)
        tables = {mb: make_tables(config, mb, home / "tables", cache_dir()) for mb in sorted(config.sizes_mb)}
    scratch = scratch_of(run)
    scratch.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + config.budget_minutes * 60
    with record.phase("measure"):
        measured, partial = Runner(config, tables.__getitem__, model, scratch, deadline).measure()
    if not measured:
        raise ConfigError(
            f"the budget of {config.budget_minutes:g} minutes ended before the first result. "
            "Remedy: raise comparison.budget_minutes"
        )
    for line in summary_lines(measured, keys_of(config)):
        log.info("%s", line)
    if partial:
        log.warning("PARTIAL: %s", partial)
    return measured, partial


def publish(place: Staging, config: ComparisonConfig, measured: list[Measurement], partial: str | None) -> Artifact:
    """Publish the table of results."""
    facts = ComparisonFacts(
        machine=describe_machine(),
        engine_settings=SETTINGS,
        first_look=config.first_look,
        partial=partial,
        measurements=len(measured),
    )
    table = pa.BufferOutputStream()
    pq.write_table(to_table(measured), table)
    place.store.write(f"{place.path}/{RESULTS}", table.getvalue().to_pybytes())
    return place.publish(schema=SCHEMA, facts=facts)


def main(arguments: list[str]) -> int:
    return run_stage("compare", body, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
