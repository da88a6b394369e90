"""This process's connection to Ray, and whether the cluster can give what the configuration asks for."""

import logging
import os
from typing import Any

from handoff.capacity import Group
from handoff.errors import EngineUnavailable
from training.config import TrainingConfig

log = logging.getLogger("baton")

MOST_DATA_TASKS = 8  # tokenising runs at half a million tokens a second and task: more than any worker group consumes
ADDRESS_VARIABLE = "RAY_ADDRESS"


def connect() -> None:
    """Connect to the cluster that RAY_ADDRESS names (as it does in a Ray job), or start a Ray of this process alone.

    What Ray, its libraries and the workers say goes to Ray's session log files, not to this job's log.

    Raises:
        EngineUnavailable: no cluster answers at RAY_ADDRESS.
    """
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    import ray

    if not ray.is_initialized():
        where = {"address": "auto"} if os.environ.get(ADDRESS_VARIABLE) else {"include_dashboard": False}
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **where)
        except ConnectionError as error:
            raise EngineUnavailable(
                f"no Ray answers at {os.environ.get(ADDRESS_VARIABLE)} ({str(error).splitlines()[0]}). "
                f"Remedy: start it (`ray start --head`), or unset {ADDRESS_VARIABLE}"
            ) from error
    import ray.data

    for handler in logging.getLogger("ray.data").handlers:
        if type(handler).__name__ == "PlainRayHandler":  # the console; the session's file stays
            handler.setLevel(logging.ERROR)
    session: Any = ray._private.worker._global_node
    log.info("Ray %s · engine logs in %s", ray.__version__, session.get_logs_dir_path())


def require_room(group: Group) -> None:
    """See that the cluster could hold all of a group. Raises CapacityError."""
    import ray

    group.require([node["Resources"] for node in ray.nodes() if node["Alive"]])


def data_slots(config: TrainingConfig) -> tuple[float, int]:
    """CPU slots per read-and-tokenise task, and how many such tasks may run.

    Ray runs a task only where a CPU slot is free, and workers hold theirs to the end: on a cluster that they fill,
    a task that asks for a whole CPU would wait for ever, and the workers for it. So tasks ask for a CPU where the
    workers leave some over for good, and otherwise for none: one at a time, it shares the workers' cores
    (tokenising takes under 1 % of a CPU training step's time).
    """
    import ray

    if config.min_workers:  # whatever is free may be gone after a node is
        return (0.0, 1)
    spare = int(ray.cluster_resources().get("CPU", 0) - config.num_workers * config.cpus_per_worker + 1e-6)
    return (1.0, min(spare, MOST_DATA_TASKS)) if spare >= 1 else (0.0, 1)
