"""
### Raw text → Spark → corpus snapshot → Ray Train + DeepSpeed → gate → promotion → predictions → report

| | |
|---|---|
| **Input** | raw text files and a base model, as the preset or the form says |
| **Output** | a corpus snapshot, a tuned model (registered in MLflow), predictions, and `report.html` |
| **Owner** | data-platform |
| **When a task fails** | nothing it was making is visible; its log ends with one line that names cause and remedy |
| **Does a failure need someone at night?** | No. The promoted model stays the one it was. |
| **To rerun** | clear the failed task: what is already published is found and reused |

*plan* checks configuration, inputs and engines in seconds. *corpus* runs on Spark (connection `spark_default`);
*train*, *evaluate* and *predict* run on Ray (`ray_default`). A failed gate in *evaluate* stops before *promote*.
*report* always runs; its page is the **Report** link of every task that is not a Spark or Ray job.
"""

from datetime import timedelta
from pathlib import Path

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import DAG, get_current_context, task

from airflow_ray.operator import RayJobOperator
from orchestration.forms import form_params
from orchestration.local_job import JobOperator
from orchestration.policy import DEFAULT_ARGS, TAGS
from orchestration.spark import spark_conf

# -- to edit
SCHEDULE = "@daily"
DRIVER_MEMORY = "2g"
TRAIN_TIMEOUT = timedelta(hours=12)
# --

PROJECT = Path(__file__).resolve().parent.parent
RUN_DIR = "{{ ti.xcom_pull(task_ids='plan') }}"

with DAG(
    "spark_to_ray",
    doc_md=__doc__,
    schedule=SCHEDULE,
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    params=form_params(),
    tags=[*TAGS, "spark", "ray"],
):

    @task(task_id="plan", doc_md="Validates the request, looks at inputs and engines, writes `run.json`.")
    def plan_run() -> str:
        from orchestration.plan import plan

        context = get_current_context()
        return plan(context["run_id"], {**context["params"], **(context["dag_run"].conf or {})})

    plan = plan_run()

    corpus = SparkSubmitOperator(
        task_id="corpus",
        doc_md="Spark: raw files → cleaned, de-duplicated, shuffled passages → a snapshot in Parquet.",
        conn_id="spark_default",
        application=str(PROJECT / "etl" / "job.py"),
        application_args=[RUN_DIR],
        conf=spark_conf(),
        driver_memory=DRIVER_MEMORY,
    )
    train = RayJobOperator(
        task_id="train",
        doc_md="Ray Train + DeepSpeed: tunes the base model on the snapshot; restarts from its last checkpoint.",
        entrypoint=["python", "-m", "training.job", RUN_DIR],
        execution_timeout=TRAIN_TIMEOUT,
    )
    evaluate = RayJobOperator(
        task_id="evaluate",
        doc_md="Ray: perplexity of base and tuned model on held-out passages. Fails when the gate does.",
        entrypoint=["python", "-m", "training.evaluate", RUN_DIR],
    )
    promote = JobOperator(
        task_id="promote",
        doc_md="MLflow: registers the tuned model and moves the alias to it.",
        module="training.promote",
        run_dir=RUN_DIR,
    )
    predict = RayJobOperator(
        task_id="predict",
        doc_md="Ray Data: an actor pool answers the prompts with the tuned model.",
        entrypoint=["python", "-m", "inference.job", RUN_DIR],
    )
    report = JobOperator(
        task_id="report",
        doc_md="Writes `report.html`, also after a failure. A teardown: the run's state is that of the stages before.",
        module="reporting.report",
        run_dir=RUN_DIR,
    ).as_teardown()

    plan >> corpus >> train >> evaluate >> promote >> predict >> report
