"""PlanOperator: the first task of a DAG, which makes a run's directory out of a request, or says what is wrong with it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from handoff.causes import cause_of, safe_traceback
from handoff.stages import Flow
from orchestration.assets import PROMOTED_MODEL, newest_extras
from orchestration.days import day_of, too_late
from orchestration.links import ReportLink
from orchestration.policy import LATEST_START
from orchestration.task_context import run_type_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from training.estimate import TaskLimit

# What the tasks after the plan are given: a path that the plan composed, never a text of the request. Jinja renders this
# line once, and what it yields is not rendered again.
RUN_DIR = "{{ ti.xcom_pull(task_ids='plan') }}"
SKIPPED_KEY = "skipped_because"  # XCom of a plan that skips its run; a skip by hand leaves none


class PlanOperator(BaseOperator):
    """Validate the request, look at inputs and engines, and write ``run.json``; returns the run's directory.

    Args:
        flow: what is planned: ``training`` (raw text to predictions), ``inference`` (predictions alone) or ``comparison``.
        latest_start: how long after its time a scheduled run may begin; None: whenever.

    Raises:
        AirflowFailException: the request or its inputs must be corrected.
        AirflowSkipException: a scheduled run comes too late, or has nothing new to work on; all after it is skipped.
        AirflowException: an engine does not answer; the task is tried again.
    """

    operator_extra_links = (ReportLink(),)
    template_fields: Sequence[str] = ()

    def __init__(self, *, flow: Flow, latest_start: timedelta | None = LATEST_START, **kwargs: Any) -> None:
        super().__init__(inlets=[PROMOTED_MODEL], **kwargs)
        self.flow = flow
        self.latest_start = latest_start

    def execute(self, context: "Context") -> str:
        from orchestration.plan import FORMS, NothingToDo, Request, plan_comparison, plan_inference, plan_training

        run = context["dag_run"]
        events = [event for asset in context["triggering_asset_events"].values() for event in asset]
        request = Request(
            dag_id=self.dag_id,
            run_id=context["run_id"],
            run_type=run_type_of(context),
            values={**context["params"], **(run.conf or {})},
            promoted=lambda: newest_extras(context["inlet_events"][PROMOTED_MODEL]),
            trigger=max(events, key=lambda event: event.timestamp).extra if events else None,
            day=day_of(context),
            train_limit=_limit(context, "train"),
        )
        if len(events) > 1:
            self.log.info("%d models were promoted since the last run: the newest answers", len(events))
        try:
            if request.run_type == "scheduled" and (late := too_late(run, self.latest_start)):
                raise NothingToDo(late)
            plans = {"training": plan_training, "inference": plan_inference, "comparison": plan_comparison}
            return plans[self.flow](request)
        except NothingToDo as reason:
            self.log.info("%s", reason)
            context["ti"].xcom_push(key=SKIPPED_KEY, value=str(reason))
            raise AirflowSkipException(str(reason)) from None
        except Exception as error:
            cause = cause_of(error)
            if not cause.explained:
                self.log.error("%s", safe_traceback(error))
            told = FORMS[self.flow].in_labels(cause.sentence)
            raise (AirflowException if cause.retry_helps else AirflowFailException)(told) from None


def _limit(context: "Context", task_id: str) -> "TaskLimit | None":
    """How long a task of this DAG may take; None where it has no limit, or the DAG has no such task."""
    from training.estimate import TaskLimit

    dag = context.get("dag")
    task = dag.task_dict.get(task_id) if dag else None
    if task is None or task.execution_timeout is None:
        return None
    return TaskLimit(task.execution_timeout.total_seconds(), 1 + (task.retries or 0))
