"""The Ray cluster that the job runs on: reach it, and know before starting whether the actor pool fits in it."""

import logging
import os
from math import floor
from typing import Any

from handoff.errors import CapacityError, EngineUnavailable
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


def require_actors(count: int, cpus: float, gpus: int) -> None:
    """Check that all actors of the pool fit on the cluster's machines at the same time.

    Raises:
        CapacityError: saying what is missing; waiting would last for ever.
    """
    import ray

    nodes = [n["Resources"] for n in ray.nodes() if n["Alive"]]
    room = sum(_room(node, cpus, gpus) for node in nodes)
    if room < count:
        have = f"{sum(n.get('CPU', 0) for n in nodes):g} CPUs and {sum(n.get('GPU', 0) for n in nodes):g} GPUs"
        need = f"{cpus:g} CPUs" + (f" and {gpus} GPU" if gpus else "")
        raise CapacityError(
            f"{count} model replicas of {need} each do not fit: Ray has {have} on {len(nodes)} machines, room for {room}. "
            "Remedy: lower inference.num_actors or cpus_per_actor, or add machines"
        )


def _room(resources: dict[str, float], cpus: float, gpus: int) -> int:
    fits = floor(resources.get("CPU", 0) / cpus + 1e-9)
    return min(fits, floor(resources.get("GPU", 0) / gpus)) if gpus else fits
