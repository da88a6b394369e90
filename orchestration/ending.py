"""The last task of a DAG: it writes the run's report, and ends as the run ends."""

from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.utils.skipmixin import XCOM_SKIPMIXIN_KEY
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from orchestration.local_job import JobOperator, names_a_directory
from orchestration.plan_task import RUN_DIR, SKIPPED_KEY

if TYPE_CHECKING:
    from airflow.sdk import Context


class ReportOperator(JobOperator):
    """Write the report, then fail if any task of the run ended badly: failed, marked, timed out, removed, never started.

    Airflow decides a run by its last tasks alone. This one is the last of each DAG (:func:`close_with`).

    Args:
        module: the job that writes the report.

    Raises:
        AirflowFailException: the run ended badly; the message names each such task. The report is written.
        AirflowSkipException: *plan* skipped the run, with its reason.
        AirflowException: the report could not be written.
    """

    def __init__(self, *, module: str, **kwargs: Any) -> None:
        super().__init__(module=module, run_dir=RUN_DIR, **kwargs)

    def execute(self, context: "Context") -> None:
        from handoff.endings import bad_endings
        from handoff.run_dir import RunDir

        states = self._states(context)
        if not names_a_directory(self.run_dir):
            self.run_dir = self._directory_of_before(context, states)
        run = RunDir(self.run_dir)
        run.save_tasks(states)
        super().execute(context)
        records = {record.stage: record for record in run.records()}
        if bad := bad_endings(states, records, by_choice=self._chose(context, states)):
            told = "\n".join(f"{task} {how}" for task, how in bad.items())
            raise AirflowFailException(f"the report is written; the run ended badly:\n{told}")

    def _states(self, context: "Context") -> dict[str, str]:
        """Airflow's states of all other tasks of the run, in the order of the DAG file; removed ones last."""
        instance = context["ti"]
        found = instance.get_task_states(dag_id=self.dag_id, run_ids=[instance.run_id])[instance.run_id]
        order = [task for task in self.dag.task_ids if task in found]
        return {
            task: str(getattr(found[task], "value", found[task]))
            for task in [*order, *(t for t in found if t not in order)]
            if task != self.task_id
        }

    def _chose(self, context: "Context", states: dict[str, str]) -> bool:
        """Whether a task that succeeded chose what to skip, as a branch and a short circuit do: they leave it in their XCom."""
        done = [task for task, state in states.items() if state == "success"]
        left = context["ti"].xcom_pull(task_ids=done, key=XCOM_SKIPMIXIN_KEY) if "skipped" in states.values() else None
        return any(left or ())

    def _directory_of_before(self, context: "Context", states: dict[str, str]) -> str:
        """The plan made none: that of an earlier plan of this run, whose page must not stay as it is. Else raises."""
        from handoff.run_dir import RunDir
        from orchestration.paths import run_key, run_uri

        state = states.get("plan")
        if state == "skipped" and (reason := context["ti"].xcom_pull(task_ids="plan", key=SKIPPED_KEY)):
            told = f"no report: plan skipped this run, because {reason}"
            self.log.info("%s", told)  # Airflow stores the reason of a skip apart from the line
            raise AirflowSkipException(told)
        run = RunDir(run_uri(self.dag_id, run_key(context["run_id"])))
        if run.exists:
            return run.uri
        raise AirflowFailException(
            f"no report: plan {'was skipped by hand' if state == 'skipped' else 'failed'}, so the run has no directory and "
            "made nothing. Remedy: see the last line of plan's log; then clear plan with what follows, or trigger a new run"
        )


def close_with(report: ReportOperator) -> None:
    """Make ``report`` the end of its DAG: it waits for every task, runs whatever happened to them, and decides the run.

    It is a teardown, so a run that a person marks as failed still gets it. Its setup, the empty task ``begin`` before all
    others, is there for one thing: Airflow clears a setup's teardown with every task in between, so a task that is cleared
    alone has its report written, and its run decided, anew.
    """
    assert report.dag is not None
    tasks = [task for task in report.dag.tasks if task is not report]
    begin = EmptyOperator(task_id="begin", doc_md="Nothing. With it, clearing any task clears *report* too.").as_setup()
    for task in tasks:
        if not task.upstream_task_ids:
            begin >> task
        task >> report
    report.as_teardown(setups=begin, on_failure_fail_dagrun=True)
