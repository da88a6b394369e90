"""The Ray cluster that the job runs on: reach it, and know before starting whether the actor pool fits in it."""

import logging
import os
from typing import Any

from handoff.capacity import Group
from handoff.errors import EngineUnavailable
from handoff.job import log


def connect() -> None:
    """Join the cluster of ``RAY_ADDRESS`` (set inside a Ray job); without it start a Ray of this process alone.

    Raises:
        EngineUnavailable: there is an address and nothing answers.
    """
    # Of this process's native part alone: it calls every bounded actor restart an error, whatever comes of it.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)  # it says that progress bars are off
    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS")
    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if not address:
        log.info("RAY_ADDRESS is not set: starting Ray for this job alone")
        ray.init(address="local", include_dashboard=False, **quiet)
        return
    try:
        ray.init(address="auto", **quiet)
    except (ConnectionError, RuntimeError) as error:
        cause = str(error).split("\n")[0]
        raise EngineUnavailable(
            f"Ray at {address} cannot be reached ({cause}). Remedy: start it, or correct it"
        ) from None


def require_room(group: Group) -> None:
    """See that the cluster could hold all of a group. Raises CapacityError."""
    import ray

    group.require([node["Resources"] for node in ray.nodes() if node["Alive"]])
