"""``python -m comparison.report RUN_DIR``: the page of a comparison, from what was published; or why there is none."""

import html
import sys

from comparison.config import ComparisonConfig
from comparison.page.render import render
from comparison.results import read_results
from comparison.schedule import keys_of
from handoff.endings import bad_endings
from handoff.facts import ComparisonFacts, facts_of
from handoff.job import log, run_stage
from handoff.run_dir import RunDir, StageRecord

PAGE = "report.html"


def body(run: RunDir, record: StageRecord) -> None:
    """Write ``report.html`` into the run's directory, also after a failure."""
    compared = run.record("compare")
    bad = [
        f"the task {task} {how}"
        for task, how in bad_endings(run.tasks, {r.stage: r for r in run.records()}).items()
        if task != "report"
    ]
    if compared is None or compared.artifact is None:
        why = compared.error if compared and compared.error else "; ".join(bad) or "the stage compare did not run"
        page = f"<!doctype html><meta charset='utf-8'><title>No results</title><h1>No results</h1><p>{html.escape(why)}"
        record.headline = "no results"
    else:
        artifact = run.artifact("compare")
        facts = facts_of(artifact.manifest, ComparisonFacts)
        config = run.section("comparison", ComparisonConfig)
        missing = "; ".join(filter(None, (facts.partial, *bad))) or None
        page = render(read_results(artifact), facts.machine, config, missing, asked=keys_of(config))
        record.headline = f"{facts.measurements} measurements"
    log.info("report: %s", run.write(PAGE, page.encode()))


def main(arguments: list[str]) -> int:
    return run_stage("report", body, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
