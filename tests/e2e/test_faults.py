"""Whatever dies or is stopped, with a real scheduler and a real Ray: no job is lost, none is doubled.

Each test injects a fault, asserts that it happened, then what survived, then that a plain retry (a clear) succeeds.
Those marked ``faults`` take longer and run with ``make test-faults``.
"""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Baton
from tests.e2e.fault_run import Run, executor_processes, kill
from tests.e2e.waiting import wait_until


@pytest.fixture
def start(baton: Baton, tmp_path: Path) -> Iterator[Callable[[str], Run]]:
    runs: list[Run] = []

    def make(dag_id: str) -> Run:
        directory = tmp_path / str(len(runs))
        directory.mkdir()
        runs.append(Run(baton, dag_id, directory))
        return runs[-1]

    yield make
    for run in runs:
        run.go()
        for job in run.jobs():
            run.client.stop_and_wait(job.submission_id, 30)


def answers(run: Run) -> bool:
    try:
        run.state()
    except (httpx.HTTPError, RuntimeError):
        return False
    return True


# -- machines die


@pytest.mark.faults
def test_a_killed_worker_loses_nothing(start: Callable[[str], Run]) -> None:
    run = start("faults_worker")
    run.wait_for_job()
    wait_until(lambda: "line 5" in run.log(1), "lines in the log")
    kill(executor_processes(run.baton))
    assert run.statuses() == ["RUNNING"]
    wait_until(lambda: "following it" in run.log(2), "the second attempt follows the job", run.state)
    run.go()
    run.wait_for("success")
    assert run.statuses() == ["SUCCEEDED"] and run.starts() == 1
    assert "last line" in run.log(2)
    run.nothing_left()
    run.succeeds_when_cleared()


@pytest.mark.faults
def test_a_killed_triggerer_loses_nothing(start: Callable[[str], Run], baton: Baton) -> None:
    run = start("faults_triggerer")
    run.wait_for_job()
    run.wait_for("deferred")
    time.sleep(20)  # what was shown is remembered every five seconds, later on a busy machine
    kill([baton.services.running()["triggerer"]])
    assert run.statuses() == ["RUNNING"]
    baton.services.launch("triggerer")
    time.sleep(10)
    run.go()
    run.wait_for("success")
    assert run.statuses() == ["SUCCEEDED"] and run.starts() == 1
    lines = re.findall(r"^line (\d+)$", run.log(1), re.M)
    assert len(lines) - len(set(lines)) < 150, "more than what was not yet remembered was shown twice"
    assert {int(n) for n in lines} == set(range(max(map(int, lines)) + 1)), "lines were lost"
    run.nothing_left()
    run.succeeds_when_cleared()


@pytest.mark.faults
def test_a_killed_scheduler_loses_nothing(start: Callable[[str], Run], baton: Baton) -> None:
    run = start("faults_worker")
    run.wait_for_job()
    kill([baton.services.running()["scheduler"]])
    assert run.statuses() == ["RUNNING"]
    baton.services.launch("scheduler")
    time.sleep(30)
    run.go()
    run.wait_for("success")
    assert run.statuses()[-1] == "SUCCEEDED" and len(run.jobs()) <= 2
    run.no_two_alive()
    run.nothing_left()
    run.succeeds_when_cleared()


@pytest.mark.faults
@pytest.mark.parametrize("dag_id", ["faults_worker", "faults_triggerer"])
def test_an_api_server_that_is_away_costs_no_attempt(start: Callable[[str], Run], baton: Baton, dag_id: str) -> None:
    run = start(dag_id)
    run.wait_for_job()
    if dag_id == "faults_triggerer":
        run.wait_for("deferred")
    server = baton.services.running()["api-server"]
    kill([*server.children(recursive=True), server])
    time.sleep(20)
    assert run.statuses() == ["RUNNING"]
    baton.services.launch("api-server")
    wait_until(lambda: answers(run), "the API server is back")
    run.go()
    run.wait_for("success")
    assert run.statuses() == ["SUCCEEDED"] and run.starts() == 1
    assert "last line" in run.log(1) and run.log(2) == ""
    run.nothing_left()


@pytest.mark.faults
def test_a_ray_head_that_is_replaced_costs_one_attempt(start: Callable[[str], Run], baton: Baton) -> None:
    run = start("faults_worker")
    run.wait_for_job()
    head = baton.services.running()["ray"]
    kill([*head.children(recursive=True), head])
    baton.services.launch("ray")
    wait_until(lambda: baton.ray_answers() and run.starts() == 2, "the job runs again", run.state)
    run.client = baton.ray()
    assert run.statuses() == ["RUNNING"]
    assert "Ray answers again" in run.log(1), "the fault did not happen"
    run.go()
    run.wait_for("success")
    run.nothing_left()
    run.succeeds_when_cleared()


# -- people stop it


@pytest.mark.parametrize(
    ("dag_id", "state"),
    [
        ("faults_worker", "failed"),
        ("faults_triggerer", "failed"),
        pytest.param("faults_worker", "success", marks=pytest.mark.faults),
        pytest.param("faults_triggerer", "success", marks=pytest.mark.faults),
    ],
)
def test_a_task_that_is_marked_stops_its_job(start: Callable[[str], Run], dag_id: str, state: str) -> None:
    run = start(dag_id)
    run.wait_for_job()
    if dag_id == "faults_triggerer":
        run.wait_for_the_trigger()
    run.set_state(state)
    wait_until(lambda: run.statuses() == ["STOPPED"], "the job is stopped", run.statuses)
    run.wait_for(state)
    run.nothing_left()
    run.succeeds_when_cleared()


@pytest.mark.parametrize("dag_id", ["faults_worker", pytest.param("faults_triggerer", marks=pytest.mark.faults)])
def test_a_task_that_is_cleared_while_it_runs_starts_anew(start: Callable[[str], Run], dag_id: str) -> None:
    run = start(dag_id)
    run.wait_for_job()
    if dag_id == "faults_triggerer":
        run.wait_for("deferred")
    run.clear()
    run.wait_for_job(2)
    assert run.statuses() == ["STOPPED", "RUNNING"]
    run.go()
    run.wait_for("success")
    assert run.statuses() == ["STOPPED", "SUCCEEDED"]
    run.no_two_alive()
    run.nothing_left()


@pytest.mark.faults
def test_a_failed_task_whose_job_still_runs_is_stopped_before_it_runs_again(start: Callable[[str], Run]) -> None:
    run = start("faults_once")
    run.wait_for_job()
    kill(executor_processes(run.baton))
    run.wait_for("failed")
    assert run.statuses() == ["RUNNING"], "the fault did not happen"
    run.succeeds_when_cleared()
    assert run.statuses() == ["STOPPED", "SUCCEEDED"]
    run.nothing_left()


@pytest.mark.faults
@pytest.mark.parametrize("dag_id", ["faults_late_worker", "faults_late_triggerer"])
def test_a_task_that_is_late_stops_its_job(start: Callable[[str], Run], dag_id: str) -> None:
    run = start(dag_id)
    run.wait_for("failed")
    assert run.statuses() == ["STOPPED"]
    run.nothing_left()
    run.succeeds_when_cleared()


@pytest.mark.faults
def test_a_run_that_is_cancelled_stops_its_job(start: Callable[[str], Run]) -> None:
    run = start("faults_worker")
    run.wait_for_job()
    run.api._call("PATCH", f"/api/v2/dags/{run.dag_id}/dagRuns/{run.run_id}", json={"state": "failed"})
    wait_until(lambda: run.statuses() == ["STOPPED"], "the job is stopped", run.statuses)
    run.wait_for("failed")
    run.nothing_left()


def test_one_run_id_is_one_job(start: Callable[[str], Run]) -> None:
    run = start("faults_worker")
    with pytest.raises(RuntimeError, match="409"):
        run.trigger()
    run.wait_for_job()
    run.go()
    run.wait_for("success")
    assert run.statuses() == ["SUCCEEDED"] and run.starts() == 1
