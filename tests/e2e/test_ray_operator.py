"""RayJobOperator on a real Ray: one job per attempt of work, its log, its failures, its end."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.ports import any_free_port
from tests.e2e.conftest import Baton
from tests.e2e.cutting_proxy import CuttingProxy
from tests.e2e.ray_task import Memory, Task
from tests.e2e.waiting import wait_until

COUNT = "for n in range(50): print('line', n, '; $(echo no shell) `ls`', flush=True)"
SLEEP = "import time; print('up', flush=True); time.sleep(600)"


@pytest.fixture
def task(baton: Baton, connect: Any) -> Iterator[Task]:
    made = Task(baton)
    yield made
    for job in made.client.list_jobs():
        if (job.metadata or {}).get("run_id") == made.run_id:
            made.client.stop_and_wait(job.submission_id, 30)


# -- the log and the end of a job


def test_every_line_of_the_job_is_in_the_log_once_and_in_order(task: Task, capsys: pytest.CaptureFixture[str]) -> None:
    attempt = task.attempt(COUNT).ended()
    assert attempt.error is None and attempt.result
    printed = capsys.readouterr().out
    assert re.findall(r"line (\d+) ; \$\(echo no shell\) `ls`", printed) == [str(n) for n in range(50)]
    assert "2 CPU, 0 GPU; its driver takes 0 CPU, 0 GPU" in printed
    assert task.links[0].endswith(f"/#/jobs/{attempt.result}")


def test_a_failure_carries_the_end_of_the_log_and_may_be_retried(task: Task) -> None:
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    error = task.attempt("print('the reason'); raise SystemExit(3)").ended().error
    assert isinstance(error, AirflowException) and not isinstance(error, AirflowFailException)
    assert "exit code 3" in str(error) and "the reason" in str(error)


def test_a_users_error_is_not_retried(task: Task) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    error = task.attempt("print('ERROR corpus: no such file'); raise SystemExit(2)").ended().error
    assert isinstance(error, AirflowFailException) and "ERROR corpus: no such file" in str(error)


def test_lines_survive_a_connection_that_is_cut_again_and_again(
    baton: Baton, task: Task, connect: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The job ends when it is told to: one that ended by itself could do so before the third cut.
    go = tmp_path / "go"
    code = f"import time, pathlib\nfor n in range(400): print('line', n, 'x' * 40, flush=True)\nwhile not pathlib.Path({str(go)!r}).exists(): time.sleep(0.1)"  # fmt: skip
    with CuttingProxy(baton.services.ray_port, after_bytes=4_000) as proxy:
        connect(port=proxy.port)
        attempt = task.attempt(code)
        attempt.start()
        wait_until(lambda: proxy.cut > 2, "three streams are cut")
        go.touch()
        attempt.ended()
    assert attempt.error is None
    printed = capsys.readouterr().out
    assert re.findall(r"line (\d+) x{40}\b", printed) == [str(n) for n in range(400)]
    assert task.jobs() == {"c0-n0": "SUCCEEDED"}


@pytest.mark.faults
def test_a_line_without_an_end_is_shown_in_pieces(task: Task, capsys: pytest.CaptureFixture[str]) -> None:
    attempt = task.attempt("print('y' * 50_000, end='', flush=True)").ended()
    assert attempt.error is None
    assert capsys.readouterr().out.count("y") >= 50_000


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
    go.touch()
    attempt = task.attempt(code).ended()
    assert attempt.error is None and task.jobs() == {"c0-n0": "SUCCEEDED"}
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


# -- clusters that are away, refuse, or are far


@pytest.mark.faults
def test_a_cluster_that_stays_silent_fails_the_attempt_and_the_next_finds_the_job(
    baton: Baton, connect: Any, task: Task, tmp_path: Path
) -> None:
    from datetime import timedelta

    go = tmp_path / "go"
    code = f"import time, pathlib\nwhile not pathlib.Path({str(go)!r}).exists(): time.sleep(0.1)"
    task.keywords["patience"] = timedelta(seconds=2)
    with CuttingProxy(baton.services.ray_port) as proxy:
        connect(port=proxy.port)
        attempt = task.attempt(code)
        attempt.start()
        task.wait_for({"c0-n0": "RUNNING"})
        wait_until(lambda: proxy.connections > 0, "a connection through the proxy")
    error = attempt.ended().error
    assert "may still run; a retry of this task finds it again" in str(error)
    assert task.jobs() == {"c0-n0": "RUNNING"}
    connect()
    go.touch()
    assert task.attempt(code).ended().error is None
    assert task.jobs() == {"c0-n0": "SUCCEEDED"}


def test_a_wrong_token_is_refused_and_not_shown(baton: Baton, task: Task, connect: Any) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    connect(password="wrong-token-1234")
    error = task.attempt("print('x')").ended().error
    assert isinstance(error, AirflowFailException)
    assert "refuses the token" in str(error) and "wrong-token-1234" not in str(error)


def test_the_test_button_tells_what_is_there(baton: Baton, connect: Any) -> None:
    from airflow_ray.hook import RayHook

    assert RayHook().test_connection()[1].endswith(": 1 node, 2 CPU, 0 GPU")
    connect(port=any_free_port())
    ok, message = RayHook().test_connection()
    assert not ok and "no Ray at http://127.0.0.1" in message


@pytest.mark.faults
def test_code_and_environment_are_shipped(
    task: Task, connect: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shipped.py").write_text(
        "import os; print('shipped', os.environ['COLOUR'], os.path.exists('untracked'))"
    )
    (tmp_path / "untracked").write_text("x")
    for command in (["init", "-q"], ["add", "shipped.py"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    connect(extra={"working_dir": str(tmp_path), "runtime_env": {"env_vars": {"COLOUR": "blue"}}})
    assert task.attempt(["python", "-m", "shipped"]).ended().error is None
    assert "shipped blue False" in capsys.readouterr().out


def test_the_token_is_nowhere(baton: Baton, task: Task, capsys: pytest.CaptureFixture[str]) -> None:
    token = json.loads(baton.services.environment()["AIRFLOW_CONN_RAY_DEFAULT"])["password"]
    attempt = task.attempt("print('x')").ended()
    details = task.client.find(attempt.result)
    assert token not in capsys.readouterr().out + repr(details) + repr(task.memory) + repr(task.links)
