"""``python -m comparison.job RUN_DIR``: measures the same stages on Spark and on Ray, and publishes the results.

The artifact has one table, ``results.parquet`` (see ``comparison.results``). ``comparison.report`` makes the page of it.
"""

import os
import shutil
import sys
import time
from typing import Any

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
from handoff.publish import find, staging
from handoff.run_dir import RunDir, StageRecord


def body(run: RunDir, record: StageRecord) -> None:
    """Measure, judge, publish; a run whose artifact is published already is done."""
    config = run.section("comparison", ComparisonConfig)
    identity = {"run": run.name, **config.model_dump(mode="json")}  # measured anew by each run, not by each retry
    if found := find(run.store, "comparison", identity, []):
        _record(record, found, reused=True)
        return
    home = baton_home() / "comparison"
    home.mkdir(parents=True, exist_ok=True)
    require_engines(config.engines)
    require_disk(config, home)
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # DeepSpeed else warns that it found no other
    with record.phase("tables"):
        model = make_model(home / f"model-seed{config.seed}", config.seed)
        tables = {mb: make_tables(config, mb, home / "tables", cache_dir()) for mb in sorted(config.sizes_mb)}
    scratch = home / "runs" / run.name
    scratch.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + config.budget_minutes * 60
    with record.phase("measure"):
        measured, partial = Runner(config, tables.__getitem__, model, scratch, deadline).measure()
    if not measured:
        raise ConfigError(
            f"the budget of {config.budget_minutes:g} minutes ended before the first result. "
            "Remedy: raise comparison.budget_minutes"
        )
    _record(record, publish(run, identity, config, measured, partial))
    for line in summary_lines(measured, keys_of(config)):
        log.info("%s", line)
    if partial:
        log.warning("PARTIAL: %s", partial)
    shutil.rmtree(scratch)


def publish(
    run: RunDir, identity: dict[str, Any], config: ComparisonConfig, measured: list[Measurement], partial: str | None
) -> Artifact:
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
    with staging(run.store, "comparison", identity, []) as place:
        run.store.write(f"{place.path}/{RESULTS}", table.getvalue().to_pybytes())
        return place.publish(schema=SCHEMA, facts=facts)


def _record(record: StageRecord, artifact: Artifact, reused: bool = False) -> None:
    record.artifact, record.reused = artifact.id, reused
    facts = facts_of(artifact.manifest, ComparisonFacts)
    record.headline = f"{facts.measurements} measurements" + (", partial" if facts.partial else "")


def main(arguments: list[str]) -> int:
    return run_stage("compare", body, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
