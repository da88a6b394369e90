"""The provider's example DAGs on a real scheduler, triggerer and Ray: each task ends well in its first attempt."""

from typing import Any

import pytest

from tests.e2e.conftest import Baton

EXAMPLES: dict[str, tuple[str, Any]] = {
    "ray_first": ("squares", None),
    "ray_mapped": ("add", 18),
    "ray_fire_and_forget": ("rows", 7),
}


def run(baton: Baton, dag_ids: list[str], run_id: str) -> None:
    """Runs of these DAGs at once; the result of each is the one that it should be.

    Airflow takes a task that goes on too soon after it was deferred for killed: that would be a second attempt.
    """
    api = baton.api()
    for dag_id in dag_ids:
        api.set_paused(dag_id, False)
        api.trigger(dag_id, run_id, {})
    try:
        for dag_id in dag_ids:
            state = baton.wait(dag_id, run_id, state={"success", "failed"})
            assert state == "success", {
                (t["task_id"], t["map_index"]): t["state"] for t in api.task_instances(dag_id, run_id)
            }
            attempts = {(t["task_id"], t["map_index"]): t["try_number"] for t in api.task_instances(dag_id, run_id)}
            assert set(attempts.values()) == {1}, attempts
            task_id, expected = EXAMPLES[dag_id]
            if expected is not None:
                path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
                assert api._call("GET", path)["value"] == expected
    finally:
        for dag_id in dag_ids:
            api.set_paused(dag_id, True)


@pytest.mark.faults
def test_every_example_runs_and_gives_its_result(baton: Baton) -> None:
    run(baton, list(EXAMPLES), "examples")


@pytest.mark.faults
def test_deferred_jobs_of_a_few_seconds_never_cost_an_attempt(baton: Baton) -> None:
    """Thirty of them, that end shortly before, while and after their task goes to the triggerer."""
    for number in range(10):
        run(baton, ["ray_mapped"], f"short-{number}")
