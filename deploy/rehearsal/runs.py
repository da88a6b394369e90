"""What the rehearsal asks of the cluster, and what must hold of a run afterwards."""

import time
from typing import Any

from deploy.rehearsal.cluster_run import Cluster, Run

STAMP = int(time.time()) % 1_000_000  # makes configurations new, so that nothing is found published


def conf(
    training: dict[str, Any] | None = None, inference: dict[str, Any] | None = None, seed: int = 0
) -> dict[str, Any]:
    """A request of the preset `tiny` with a model of two layers; ``seed`` of the corpus."""
    return {
        "preset": "tiny", "base_model": "/data/tiny-model", "max_steps": 60, "model_name": "faults",
        "gate": [{"against": "base", "limit": 9.0}],
        "overrides": {
            "corpus": {"seed": seed},
            "training": {"epochs": 9, "checkpoint_every_steps": 20, "seed": STAMP, **(training or {})},
            "inference": inference or {},
        },
    }  # fmt: skip


def check(holds: bool, what: str, seen: object = "") -> None:
    if not holds:
        raise RuntimeError(f"not so: {what}; seen: {seen}")
    print(f"    {what}", flush=True)


def passed(run: Run, state: str = "success") -> dict[str, Any]:
    """Wait for the run's end, and return what it did."""
    ended = run.end()
    check(ended == state, f"the run ended with {state} after {time.monotonic() - run.begun:.0f} s", ended)
    return run.look()


def training(cluster: Cluster, name: str, **settings: Any) -> Run:
    """A run whose training has written a checkpoint and goes on."""
    run = Run(cluster, name, conf({"max_steps": 400, **settings, "seed": STAMP + sum(map(ord, name))}))
    run.wait(lambda: "checkpoint of step" in run.log("train"), "a checkpoint")
    return run


def whole(run: Run) -> dict[str, Any]:
    """A training without a step lost or doubled."""
    found = passed(run)
    steps = found["train"]["steps"]
    check(steps == list(range(1, len(steps) + 1)), f"{len(steps)} steps, each once")
    return found


def clean_log(run: Run) -> None:
    dumped = [line for line in run.log("train").splitlines() if "state-dump" in line or "(raylet" in line]
    check(len(dumped) < 10, f"{len(dumped)} lines of a raylet in the task's log", dumped[:3])
