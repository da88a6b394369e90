"""
### The same stages on Spark and on Ray → measurements → a page with a verdict per stage

| | |
|---|---|
| **Input** | documents made up from a seed, or your own raw files, at the sizes in the form |
| **Output** | a comparison artifact (`results.parquet`), and `report.html` with a verdict per stage |
| **Starts** | weekly, or by hand |
| **Owner** | data-platform |
| **When a task fails** | what was measured is kept; a retry goes on with the next form |
| **Retries** | a failure that may pass is retried with growing waits; one that you must fix fails at once |
| **Does a failure need someone at night?** | No. Earlier comparisons stay where they are, and nothing else depends on this one. |
| **To rerun** | trigger it again: each run measures anew. Clearing *compare* finds the run's results published |
| **A backfill** | makes no sense: a measurement is of today's machine |

*compare* runs on the worker that the task is on, with each engine in fresh processes of its own, one at a time. Other work on
that machine falsifies the figures: a cell that was measured under foreign load is measured again. When the time budget is used
up, what is there is published and marked as partial.
"""

from datetime import timedelta

from airflow.sdk import DAG

from orchestration.ending import ReportOperator, close_with
from orchestration.form_fields import COMPARISON
from orchestration.local_job import JobOperator
from orchestration.plan_task import RUN_DIR, PlanOperator
from orchestration.policy import DEFAULT_ARGS, TAGS, at

# -- to edit
SCHEDULE = "@weekly"
LATEST_START = timedelta(hours=3)  # a scheduled run that begins later is skipped; None: it catches up
PRESET = "first"  # of scheduled runs, and what the form starts from
SETTINGS: dict[str, object] = {}  # more that the form starts from: {"sizes_mb": [10, 100]}
COMPARE_TIMEOUT = timedelta(hours=26)  # above the time budget of the preset `full`
# --

with DAG(
    "engine_comparison",
    doc_md=__doc__,
    schedule=at(SCHEDULE),
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    params=COMPARISON.params(PRESET, SETTINGS),
    tags=[*TAGS, "spark", "ray"],
):
    plan = PlanOperator(
        task_id="plan",
        doc_md="Validates the request, checks engines, disk and source, writes `run.json`.",
        flow="comparison",
        latest_start=LATEST_START,
    )
    compare = JobOperator(
        task_id="compare",
        doc_md="Measures each stage on each engine, equal outputs first, and publishes the results.",
        module="comparison.job",
        run_dir=RUN_DIR,
        execution_timeout=COMPARE_TIMEOUT,
    )
    report = ReportOperator(
        task_id="report",
        doc_md="Writes `report.html`, also after a failure, and fails if any task of the run ended badly.",
        module="comparison.report",
    )

    plan >> compare
    close_with(report)
