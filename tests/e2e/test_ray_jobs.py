"""One job per attempt of work on a real Ray, whatever dies or is cleared in between; a stopped task stops its job."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.ray_task import Memory, Task
from tests.e2e.waiting import wait_until

SLEEP = "import time; print('up', flush=True); time.sleep(600)"

# -- one job per attempt of work


def test_a_worker_that_takes_over_follows_the_job_that_is_there(
    task: Task, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    go = tmp_path / "go"
    code = f"import time, pathlib\nprint('before', flush=True)\nwhile not pathlib.Path({str(go)!r}).exists(): time.sleep(0.1)\nprint('after', flush=True)"  # fmt: skip
    killed = task.attempt(code)
    killed.start()
    task.wait_for({"c0-n0": "RUNNING"})
    wait_until(lambda: "ray_log" in task.memory, "what was shown is remembered every few seconds")
    killed.vanish()
    assert task.jobs() == {"c0-n0": "RUNNING"}, "the fault did not happen"
    capsys.readouterr()
    attempt = task.attempt(code)
    attempt.start()
    wait_until(lambda: attempt.operator._job is not None, "the new attempt has its job")  # before that job can end
    go.touch()
    assert attempt.ended().error is None and task.jobs() == {"c0-n0": "SUCCEEDED"}
    printed = capsys.readouterr().out
    assert "following it" in printed and "after" in printed
    assert not re.search(r"^.*\bbefore$", printed, re.M), "shown twice"


def test_a_job_that_has_succeeded_meanwhile_is_adopted(task: Task) -> None:
    killed = task.attempt("print('quick')")
    killed.start()
    task.wait_for({"c0-n0": "SUCCEEDED"})
    killed.vanish()
    assert task.attempt("raise SystemExit('a second job ran')").ended().error is None
    assert task.jobs() == {"c0-n0": "SUCCEEDED"}


def test_a_worker_that_dies_before_the_submission_leaves_its_name_to_the_next(task: Task) -> None:
    dying = task.attempt("print('x')")
    dying.operator._submit = lambda *a: (_ for _ in ()).throw(SystemExit("killed"))
    assert isinstance(dying.ended().error, SystemExit)
    assert task.memory["ray_job"]["number"] == 0 and task.jobs() == {}, "the fault did not happen"
    assert task.attempt("print('x')").ended().error is None
    assert task.jobs() == {"c0-n0": "SUCCEEDED"}


def test_a_lost_answer_to_the_submission_does_not_double_the_job(task: Task) -> None:
    attempt = task.attempt("print('x')")
    submit, calls = attempt.operator._submit, []

    def submit_and_lose_the_answer(*arguments: Any) -> None:
        submit(*arguments)
        calls.append("lost")
        submit(*arguments)

    attempt.operator._submit = submit_and_lose_the_answer
    assert attempt.ended().error is None and calls == ["lost"]
    assert task.jobs() == {"c0-n0": "SUCCEEDED"}


@pytest.mark.faults
def test_a_retry_after_a_failed_job_starts_a_new_one(task: Task) -> None:
    assert task.attempt("raise SystemExit(1)").ended().error is not None
    assert task.attempt("print('x')").ended().error is None
    assert task.jobs() == {"c0-n0": "FAILED", "c0-n1": "SUCCEEDED"}


def test_a_cleared_task_really_runs_again(task: Task) -> None:
    assert task.attempt("print('x')").ended().error is None
    task.clear_number = 1
    assert task.attempt("print('x')").ended().error is None
    assert task.jobs() == {"c0-n0": "SUCCEEDED", "c1-n0": "SUCCEEDED"}


def test_a_job_that_survived_a_clear_is_stopped_first(task: Task) -> None:
    lost = task.attempt(SLEEP)
    lost.start()
    task.wait_for({"c0-n0": "RUNNING"})
    lost.vanish()
    assert task.jobs() == {"c0-n0": "RUNNING"}, "the fault did not happen"
    task.clear_number = 1
    assert task.attempt("print('x')").ended().error is None
    assert task.jobs() == {"c0-n0": "STOPPED", "c1-n0": "SUCCEEDED"}
    old, new = (next(j for j in task.client.list_jobs() if (j.submission_id or "").endswith(f"{n}") and j.metadata["run_id"] == task.run_id) for n in ("c0-n0", "c1-n0"))  # fmt: skip
    assert old.end_time <= new.start_time, "two were alive at once"


@pytest.mark.faults
def test_a_run_that_was_deleted_and_made_again_gets_a_job_of_its_own(task: Task) -> None:
    assert task.attempt("print('x')").ended().error is None
    task.memory.clear()
    assert task.attempt("print('x')").ended().error is None
    assert task.jobs() == {"c0-n0": "SUCCEEDED", "c0-n1": "SUCCEEDED"}


@pytest.mark.faults
def test_another_airflow_on_the_same_cluster_is_left_alone(task: Task, connect: Any) -> None:
    theirs = task.attempt(SLEEP)
    theirs.start()
    task.wait_for({"c0-n0": "RUNNING"})
    connect(extra={"namespace": "other"})
    task.memory = Memory()
    assert task.attempt("print('x')").ended().error is None
    assert sorted(j.status for j in task.client.list_jobs() if (j.metadata or {}).get("run_id") == task.run_id) == ["RUNNING", "SUCCEEDED"]  # fmt: skip
    theirs.operator.on_kill()
    theirs.ended()


# -- stopping

BUSY = """
import ray, time
ray.init(log_to_driver=False)
group = ray.util.placement_group([{"CPU": 1}]); ray.get(group.ready())
@ray.remote(num_cpus=0)
class Worker:
    def work(self): time.sleep(600)
workers = [Worker.remote() for _ in range(2)]
print('busy', flush=True)
ray.get([w.work.remote() for w in workers])
"""


def test_a_stopped_task_stops_its_job_with_all_that_it_holds_and_is_not_green(task: Task) -> None:
    from airflow.sdk.exceptions import AirflowException

    attempt = task.attempt(BUSY)
    attempt.start()
    wait_until(lambda: len(_left(task)) >= 3, "two actors and a placement group", lambda: _left(task), seconds=60)
    attempt.operator.on_kill()
    assert isinstance(attempt.ended().error, AirflowException) and "was stopped" in str(attempt.error)
    assert task.jobs() == {"c0-n0": "STOPPED"}
    assert _left(task) == []
    assert task.attempt("print('x')").ended().error is None  # a plain retry


def _left(task: Task) -> list[str]:
    details = next((j for j in task.client.list_jobs() if (j.metadata or {}).get("run_id") == task.run_id), None)
    return task.client.leftovers(details) if details else []


@pytest.mark.faults
def test_a_task_that_is_stopped_before_it_submits_starts_nothing(task: Task) -> None:
    attempt = task.attempt("print('x')")
    attempt.operator.on_kill()
    assert "was stopped" in str(attempt.ended().error)
    assert task.jobs() == {}


@pytest.mark.faults
def test_a_job_that_is_stopped_on_behalf_of_an_earlier_attempt_is_started_again(task: Task, tmp_path: Path) -> None:
    """A scheduler that comes back starts the task anew, then the old worker hears that it is not wanted."""
    old = task.attempt(SLEEP)
    old.start()
    task.wait_for({"c0-n0": "RUNNING"})
    new = task.attempt("print('x')")
    new.start()
    wait_until(lambda: new.operator._job is not None, "the new attempt has its job")
    old.operator.on_kill()
    assert "was stopped" in str(old.ended().error)
    assert new.ended().error is None
    assert task.jobs() == {"c0-n0": "STOPPED", "c0-n1": "SUCCEEDED"}


@pytest.mark.faults
def test_a_job_that_someone_stops_on_the_dashboard_fails_its_task(task: Task) -> None:
    attempt = task.attempt(SLEEP)
    attempt.start()
    task.wait_for({"c0-n0": "RUNNING"})
    task.client.stop_job(attempt.operator._job)
    assert "was stopped" in str(attempt.ended().error)
