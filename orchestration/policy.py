"""What all tasks of all DAGs share: owner, retries, time limits, pools, and the call that reports a failure."""

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

# Slots and description of each pool. A laptop holds one job at a time; raise the slots in Airflow's UI for a cluster.
POOLS = {
    SPARK_POOL: (1, "jobs on Spark at one time"),
    RAY_POOL: (1, "jobs on Ray at one time"),
}

# A scheduled run that begins later than this after its time is skipped by *plan* (orchestration/days.py).
LATEST_START = timedelta(hours=3)

log = logging.getLogger(__name__)


def at(schedule: Any) -> Any:
    """A schedule of any kind for a DAG; a cron text in UTC gets its first run at the next scheduled time.

    With a plain text Airflow also runs the scheduled time that passed last, if that is less than a tenth of the
    interval ago. A DAG that somebody enables soon after midnight would then run at once, and a run triggered by hand
    would wait for it. ``run_immediately=False`` is documented to prevent that, but does not in Airflow 3.3.

    Args:
        schedule: a cron text or a preset such as ``@daily``; anything else that Airflow takes (a ``timedelta``, assets,
            a timetable, ``@once``, ``@continuous``, None) is returned as it is.
    """
    if isinstance(schedule, str) and schedule not in ("@once", "@continuous"):
        return CronTriggerTimetable(schedule, timezone="UTC", run_immediately=timedelta(0))
    return schedule


def notify_failure(context: "Context") -> None:
    """Called for every failed task. It writes to the log; add a pager or a chat message here."""
    instance = context["task_instance"]
    log.info("::endgroup::")  # of "Post Execute", which Airflow's UI folds: the error is what one looks for
    log.error("task %s of run %s failed: %s", instance.task_id, instance.run_id, context.get("exception"))


def corpus_only_in_backfills(context: "Context") -> None:
    """``pre_execute`` of *train*: in a backfill, skip training and with it all later tasks, and record why.

    A snapshot of an earlier day is useful. Models of several past days would be promoted one after the other, and the
    oldest perhaps last.
    """
    if run_type_of(context) == "backfill":
        reason = "a backfill makes the corpus only: trigger the DAG by hand to train on it"
        run_of(context).skip("train", reason)
        log.info("%s", reason)  # Airflow stores the reason of a skip apart from the line, and not every viewer shows it
        raise AirflowSkipException(reason)


DEFAULT_ARGS: dict[str, Any] = {
    "owner": OWNER,
    # For failures that may pass: a restarting engine, a lost worker, a full disk that somebody empties. The waits are
    # 30 s to 1 min, 1 to 2 min and 2 to 4 min (Airflow adds jitter). What a user must fix fails at once and is not
    # retried. A retried training continues from its last checkpoint.
    "retries": 3,
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=15),
    "execution_timeout": timedelta(hours=1),
    "on_failure_callback": notify_failure,
}
