"""
### Raw text → Spark → corpus snapshot → Ray Train + DeepSpeed → gate → promotion → predictions → report

| | |
|---|---|
| **Input** | raw text files and a base model, as the preset or the form says |
| **Output** | a corpus snapshot, a tuned model (registered in MLflow), predictions, and `report.html` |
| **Assets** | `corpus_snapshot` and `promoted_model`; their events carry the manifests' facts |
| **Owner** | data-platform |
| **When a task fails** | nothing it was making is visible; its log ends with one line that names cause and remedy |
| **Retries** | a failure that may pass is retried with growing waits; one that you must fix fails at once |
| **Does a failure need someone at night?** | No. The promoted model stays the one it was. |
| **To rerun** | clear the failed task: what is already published is found and reused |
| **A scheduled run** | is skipped if it begins hours late, or nothing changed since the last promotion; the log of *plan* has the reason |
| **A backfill** | makes the corpus, each day from the source that `{{ ds }}` names; training and what follows are skipped |
| **Pools** | `spark` and `ray` must exist: `airflow pools set spark 1 "Spark jobs"`, `airflow pools set ray 1 "Ray jobs" --include-deferred` |

*plan* checks configuration, inputs and engines in seconds. *corpus* runs on Spark (connection `spark_default`);
*train*, *evaluate* and *predict* run on Ray (`ray_default`). A failed gate in *evaluate* ends the run before
*promote*. *approve* asks a person if the form says so. *report* always runs, and fails if any
task ended badly; its page is the tab **Report** of the run, and the link **Report** of each task.
"""

from datetime import timedelta

from airflow.sdk import DAG

from orchestration.approval import PromotionApproval
from orchestration.assets import CORPUS_SNAPSHOT, PROMOTED_MODEL, describe_model, describe_snapshot
from orchestration.ending import ReportOperator, close_with
from orchestration.form_fields import TRAINING
from orchestration.local_job import JobOperator
from orchestration.plan_task import RUN_DIR, PlanOperator
from orchestration.policy import DEFAULT_ARGS, RAY_POOL, SPARK_POOL, TAGS, at, corpus_only_in_backfills
from orchestration.ray import RayStageOperator
from orchestration.spark import SparkJobOperator

# -- to edit
SCHEDULE = "@daily"
LATEST_START = timedelta(hours=3)  # a scheduled run that begins later is skipped; None: it catches up
PRESET = "demo"  # of scheduled runs, and what the form starts from
SETTINGS: dict[str, object] = {}  # more that the form starts from: {"source": "/data/books/*.txt"}
DRIVER_MEMORY = "2g"
CORPUS_TIMEOUT = timedelta(hours=6)
TRAIN_TIMEOUT = timedelta(hours=24)
RAY_TIMEOUT = timedelta(hours=4)
APPROVAL_TIMEOUT = timedelta(hours=24)  # then nothing is promoted
# --

with DAG(
    "spark_to_ray",
    doc_md=__doc__,
    schedule=at(SCHEDULE),
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    params=TRAINING.params(PRESET, SETTINGS),
    tags=[*TAGS, "spark", "ray"],
):
    plan = PlanOperator(
        task_id="plan",
        doc_md="Validates the request, checks inputs and engines, writes `run.json`.",
        flow="training",
        latest_start=LATEST_START,
    )
    corpus = SparkJobOperator(
        task_id="corpus",
        doc_md="Spark: raw files → cleaned, de-duplicated, shuffled passages → a snapshot in Parquet.",
        job="etl/job.py",
        run_dir=RUN_DIR,
        driver_memory=DRIVER_MEMORY,
        pool=SPARK_POOL,
        execution_timeout=CORPUS_TIMEOUT,
        outlets=[CORPUS_SNAPSHOT],
        post_execute=describe_snapshot,
    )
    train = RayStageOperator(
        task_id="train",
        doc_md="Ray Train + DeepSpeed: tunes the base model on the snapshot; a retry continues from the last checkpoint.",
        entrypoint=["python", "-m", "training.job", RUN_DIR],
        pool=RAY_POOL,
        execution_timeout=TRAIN_TIMEOUT,
        pre_execute=corpus_only_in_backfills,
    )
    evaluate = RayStageOperator(
        task_id="evaluate",
        doc_md="Ray: the tuned model beside its base and the champion on held-out passages. Fails if the gate does.",
        entrypoint=["python", "-m", "evaluation.job", RUN_DIR],
        pool=RAY_POOL,
        execution_timeout=RAY_TIMEOUT,
    )
    approve = PromotionApproval(
        task_id="approve",
        doc_md="Asks a person if the form says so; otherwise passes at once.",
        run_dir=RUN_DIR,
        response_timeout=APPROVAL_TIMEOUT,
    )
    promote = JobOperator(
        task_id="promote",
        doc_md="MLflow: registers the tuned model and moves the alias to it.",
        module="registry.promote",
        run_dir=RUN_DIR,
        outlets=[PROMOTED_MODEL],
        post_execute=describe_model,
    )
    predict = RayStageOperator(
        task_id="predict",
        doc_md="Ray Data: an actor pool answers the prompts with the tuned model.",
        entrypoint=["python", "-m", "inference.job", RUN_DIR],
        pool=RAY_POOL,
        execution_timeout=RAY_TIMEOUT,
    )
    report = ReportOperator(
        task_id="report",
        doc_md="Writes `report.html`, also after a failure, and fails if any task of the run ended badly.",
        module="reporting.report",
    )

    plan >> corpus >> train >> evaluate >> approve >> promote >> predict
    close_with(report)
