"""
### A promoted model + prompts → predictions → report

| | |
|---|---|
| **Input** | a promoted model and prompts: the model of the event that started the run, or the one in the form |
| **Output** | predictions (id, prompt, completion, error, token counts), and `report.html` |
| **Starts** | when `spark_to_ray` promotes a model (asset `promoted_model`), or by hand |
| **Owner** | data-platform |
| **When a task fails** | nothing it was making is visible; its log ends with one line that names cause and remedy |
| **Retries** | a failure that may pass is retried with growing waits; one that you must fix fails at once |
| **Does a failure need someone at night?** | No. Earlier predictions stay where they are. |
| **To rerun** | clear the failed task: it goes on with the prompts that have no answer yet; finished predictions are found and reused |
| **A backfill** | is refused by Airflow, because a run follows a promotion, not a date |
| **Pools** | `ray` must exist: `airflow pools set ray 1 "Ray jobs" --include-deferred` |

*plan* finds the model (in MLflow or the store), reads the first prompts and checks Ray, in seconds. *predict* runs on Ray
(`ray_default`). *report* always runs, and fails if any task ended badly; its page is the tab **Report** of the run.
"""

from datetime import timedelta

from airflow.sdk import DAG

from orchestration.assets import PROMOTED_MODEL
from orchestration.ending import ReportOperator, close_with
from orchestration.form_fields import INFERENCE
from orchestration.plan_task import RUN_DIR, PlanOperator
from orchestration.policy import DEFAULT_ARGS, RAY_POOL, TAGS, at
from orchestration.ray import RayStageOperator

# -- to edit
SCHEDULE = [PROMOTED_MODEL]
PRESET = "inference"  # settings of a run that a promotion started, prompts included
SETTINGS: dict[str, object] = {}  # more that the form starts from: {"prompts": "/data/prompts.jsonl"}
PREDICT_TIMEOUT = timedelta(hours=4)
# --

with DAG(
    "batch_inference",
    doc_md=__doc__,
    schedule=at(SCHEDULE),
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    params=INFERENCE.params(PRESET, SETTINGS),
    tags=[*TAGS, "ray"],
):
    plan = PlanOperator(
        task_id="plan",
        doc_md="Finds the model, checks prompts and Ray, writes `run.json`.",
        flow="inference",
    )
    predict = RayStageOperator(
        task_id="predict",
        doc_md="Ray Data: an actor pool answers the prompts with the model.",
        entrypoint=["python", "-m", "inference.job", RUN_DIR],
        pool=RAY_POOL,
        execution_timeout=PREDICT_TIMEOUT,
    )
    report = ReportOperator(
        task_id="report",
        doc_md="Writes `report.html`, also after a failure, and fails if any task of the run ended badly.",
        module="reporting.report",
    )

    plan >> predict
    close_with(report)
