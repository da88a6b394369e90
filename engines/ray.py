"""How a job reaches Ray, and whether the cluster has room for what the configuration asks for."""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from handoff.capacity import Group
from handoff.errors import CapacityError, EngineUnavailable
from handoff.job import log

ADDRESS_VARIABLE = "RAY_ADDRESS"
JOIN_SECONDS = 120.0  # in containers on two busy cores, both workers were back 72 s after their head was killed
POLL_SECONDS = 1.0


def connect() -> None:
    """Join the cluster that RAY_ADDRESS names, as it does in a Ray job; without it start a Ray of this process alone.

    What Ray, its libraries and the workers say goes to the session's log files, not to this job's log.

    Raises:
        EngineUnavailable: no cluster answers at RAY_ADDRESS.
    """
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    # Of this process's native part alone: it calls every bounded restart of an actor an error.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    if not ray.is_initialized():
        address = os.environ.get(ADDRESS_VARIABLE)
        # "local", as Ray would otherwise join any cluster that it finds on this machine.
        where: dict[str, Any] = {"address": "auto"} if address else {"address": "local", "include_dashboard": False}
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **where)
        except (ConnectionError, RuntimeError) as error:
            raise EngineUnavailable(
                f"no Ray answers at {address or 'this machine'} ({str(error).splitlines()[0]}). "
                f"Remedy: start it (`ray start --head`), or unset {ADDRESS_VARIABLE}"
            ) from error
    import ray.data

    for handler in logging.getLogger("ray.data").handlers:
        if type(handler).__name__ == "PlainRayHandler":  # the console; the session's file stays
            handler.setLevel(logging.CRITICAL)  # it tells of each lost block in forty lines; an error is raised as well
    session: Any = ray._private.worker._global_node
    log.info("Ray %s · engine logs in %s", ray.__version__, session.get_logs_dir_path())


def require_room(group: Group) -> None:
    """See that the cluster could hold all of a group. Raises CapacityError."""
    import ray

    wait_for_room(group, lambda: [node["Resources"] for node in ray.nodes() if node["Alive"]])


def wait_for_room(
    group: Group, nodes: Callable[[], Sequence[Mapping[str, float]]], seconds: float = JOIN_SECONDS
) -> None:
    """Wait for nodes that have not joined yet: after a head is replaced, or a worker, they come one by one.

    A node that works alone is the whole cluster of a laptop, and is not waited for.

    Raises:
        CapacityError: no room after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    told = False
    while problem := group.problem(seen := nodes()):
        alone = len(seen) == 1 and seen[0].get("CPU", 0) > 0
        if alone or time.monotonic() > deadline:
            raise CapacityError(problem)
        if not told:
            log.info("%s. Waiting up to %.0f s for nodes that may be about to join", problem.split(". ")[0], seconds)
            told = True
        time.sleep(POLL_SECONDS)
