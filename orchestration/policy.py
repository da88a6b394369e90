"""What every task of every DAG shares: owner, retries, time limits, pools, and who hears of a failure."""

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import CronTriggerTimetable
from airflow.sdk.exceptions import AirflowSkipException

from orchestration.task_context import run_of, run_type_of

if TYPE_CHECKING:
    from airflow.sdk import Context

OWNER = "data-platform"
TAGS = ["baton"]
SPARK_POOL, RAY_POOL = "spark", "ray"

# Slots and description of each pool. One job at a time is what a laptop holds; raise it in Airflow's UI for a cluster.
POOLS = {
    SPARK_POOL: (1, "jobs on Spark at one time"),
    RAY_POOL: (1, "jobs on Ray at one time"),
}

log = logging.getLogger(__name__)


def at(cron: str) -> CronTriggerTimetable:
    """A schedule, in UTC, whose first run is at its next time.

    Given a plain string Airflow begins with the time that passed last, where that is less than a tenth of the interval
    ago: a DAG that somebody turns on soon after midnight would run at once, and a run asked for by hand wait for it.
    ``run_immediately=False`` is documented to prevent that, and in Airflow 3.3 does not.
    """
    return CronTriggerTimetable(cron, timezone="UTC", run_immediately=timedelta(0))


def notify_failure(context: "Context") -> None:
    """The one place that hears of a failed task: says it in the log; put a pager or a chat message here."""
    instance = context["task_instance"]
    log.error("task %s of run %s failed: %s", instance.task_id, instance.run_id, context.get("exception"))


def corpus_only_in_backfills(context: "Context") -> None:
    """A task's ``pre_execute``: in a backfill, skip training and, by it, all that follows, and record why.

    A snapshot of an earlier day is worth having. Models trained for a row of past days would be promoted one over the
    other, the oldest perhaps last.
    """
    if run_type_of(context) == "backfill":
        reason = "a backfill makes the corpus only: trigger the DAG by hand to train on it"
        run_of(context).skip("train", reason)
        log.info("%s", reason)  # Airflow keeps the reason of a skip beside the line, where not every reader shows it
        raise AirflowSkipException(reason)


DEFAULT_ARGS: dict[str, Any] = {
    "owner": OWNER,
    # For what may pass by itself: an engine that restarts, a lost worker, a full disk that somebody empties. Waits of
    # about 30 s to 1 min, 1 to 2, 2 to 4 (Airflow spreads them). What a user must fix fails at once, whatever stands
    # here. A retried training goes on from its last checkpoint.
    "retries": 3,
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=15),
    "execution_timeout": timedelta(hours=1),
    "on_failure_callback": notify_failure,
}
