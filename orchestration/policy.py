"""What every task of every DAG shares: owner, retries, time limits, and who hears of a failure."""

import logging
from datetime import timedelta
from typing import Any

OWNER = "data-platform"
TAGS = ["baton"]

log = logging.getLogger(__name__)


def notify_failure(context: dict[str, Any]) -> None:
    """The one place that hears of a failed task: says it in the log; put a pager or a chat message here."""
    instance = context["task_instance"]
    log.error("task %s of run %s failed: %s", instance.task_id, instance.run_id, context.get("exception"))


DEFAULT_ARGS: dict[str, Any] = {
    "owner": OWNER,
    # Jobs recover by themselves where that is safe (training restarts from its last checkpoint, max_failures);
    # a failed task waits for a person, who finds every finished stage reused when it is cleared.
    "retries": 0,
    "execution_timeout": timedelta(hours=24),
    "on_failure_callback": notify_failure,
}
