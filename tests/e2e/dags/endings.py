"""A flow as short as it can be, closed as the project's DAGs are: what tests/e2e/test_endings.py ends in every way.

What a task does is the content of a file of its name, in the directory that the run's conf names.
"""

import time
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, BaseOperator, chain, task

from handoff.home import baton_home
from handoff.run_dir import RunDir
from orchestration.ending import ReportOperator, close_with
from orchestration.paths import run_key, run_uri, storage_root
from orchestration.plan_task import RUN_DIR
from orchestration.policy import DEFAULT_ARGS

STAGES = ("plan", "train", "predict", "report")
NO_SLOTS = "endings_no_slots"  # a pool in which every task waits
SHORT = timedelta(seconds=4)
VARIANTS = {"endings": {}, "endings_late": {"execution_timeout": SHORT}, "endings_waiting": {"pool": NO_SLOTS}}


class Obedient(BaseOperator):
    """A stage that does what its file says: ``raise``, ``wait`` until it says something else, or anything else: succeed."""

    template_fields = ("run_dir",)

    def __init__(self, *, run_dir: str = "", **kwargs):
        super().__init__(**kwargs)
        self.run_dir = run_dir

    def execute(self, context):
        file = Path(context["dag_run"].conf["directory"]) / self.task_id
        (file.parent / f"{self.task_id}-began").touch()
        uri = self.run_dir or run_uri(self.dag_id, run_key(context["run_id"]))
        while file.exists() and (order := file.read_text()) != "succeed":
            if order == "raise":
                raise ValueError(f"{self.task_id} was told to raise")
            time.sleep(0.1)
        run = RunDir(uri)
        if not self.run_dir:
            run.create(storage_root(), {"preset": "none"}, STAGES)
        with run.stage(self.task_id):
            return uri


for dag_id, settings in VARIANTS.items():
    with DAG(dag_id, schedule=None, max_active_runs=4, default_args={**DEFAULT_ARGS, "retries": 0}):
        plan = Obedient(task_id="plan", **({} if "pool" in settings else settings))
        flow = [plan]
        if not (baton_home() / f"{dag_id}-without-train").exists():
            flow.append(Obedient(task_id="train", run_dir=RUN_DIR, **settings))
        flow.append(Obedient(task_id="predict", run_dir=RUN_DIR, **({} if "pool" in settings else settings)))
        chain(*flow)
        close_with(ReportOperator(task_id="report", module="reporting.report"))

with DAG("endings_branch", schedule=None, default_args={**DEFAULT_ARGS, "retries": 0}):

    @task.branch
    def enough() -> str:
        return "too_small"

    @task
    def too_small() -> None:
        """Nothing is to be trained."""

    plan, train = Obedient(task_id="plan"), Obedient(task_id="train", run_dir=RUN_DIR)
    plan >> enough() >> [train, too_small()]
    train >> Obedient(task_id="predict", run_dir=RUN_DIR)
    close_with(ReportOperator(task_id="report", module="reporting.report"))
