"""A worker of Airflow dies in the middle of real training, while the same request waits a second time."""

from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Baton
from tests.e2e.fault_run import executor_processes, kill, log_of
from tests.e2e.waiting import wait_until

pytestmark = pytest.mark.faults
DAG = "spark_to_ray"


def test_a_killed_worker_costs_training_no_step_and_a_twin_run_trains_nothing(baton: Baton, tiny_model: Path) -> None:
    steps = 800
    conf = {"preset": "tiny", "base_model": str(tiny_model), "max_steps": steps, "model_name": "killed"}
    conf["overrides"] = {"corpus": {"seed": 5}, "training": {"epochs": 9, "checkpoint_every_steps": 100}}
    with baton.unpaused(DAG) as api:
        for run_id in ("killed", "twin"):
            api.trigger(DAG, run_id, conf)

        wait_until(lambda: spark_ui(baton, "killed") is not None, "the corpus task's link to Spark's UI")
        wait_until(lambda: answers(f"{spark_ui(baton, 'killed')}/api/v1/applications"), "Spark's UI behind it")

        wait_until(
            lambda: f"/{steps} steps · " in log_of(api, DAG, "killed", "train", 1),
            "training steps in the log",
            lambda: log_of(api, DAG, "killed", "train", 1)[-300:],
            seconds=420,
        )
        kill(executor_processes(baton))
        # The second where training ends before the loss of its worker process is noticed.
        met = ("following it", "taking its result")
        wait_until(
            lambda: any(words in log_of(api, DAG, "killed", "train", 2) for words in met),
            "the second attempt",
            lambda: log_of(api, DAG, "killed", "train", 2)[-300:],
            seconds=300,
        )
        assert api.run_state(DAG, "twin") == "queued", "one run at a time"
        for run_id in ("killed", "twin"):
            assert baton.wait(DAG, run_id, state={"success", "failed"}, seconds=300) == "success"

    jobs = [job.metadata for job in baton.ray().list_jobs() if (job.metadata or {}).get("task_id") == "train"]
    assert [job["run_id"] for job in jobs].count("killed") == 1
    killed, twin = baton.directory(DAG, "killed"), baton.directory(DAG, "twin")
    assert [s["step"] for s in killed.artifact("train").manifest.facts["steps"]] == list(range(1, steps + 1))
    for stage in ("corpus", "train", "evaluate", "predict"):
        assert twin.record(stage).reused and twin.record(stage).artifact == killed.record(stage).artifact


def spark_ui(baton: Baton, run_id: str) -> str | None:
    found = baton.api()._call("GET", f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances/corpus/links")
    return found["extra_links"].get("Spark UI (while it runs)")


def answers(url: str) -> bool:
    try:
        return httpx.get(url).json()[0]["name"] != ""
    except (httpx.TransportError, ValueError):  # ValueError: it says in words that Spark is starting
        return False
