"""RayJobOperator on a real Ray: a job's log, its failures, its environment, clusters that are away or refuse."""

import asyncio
import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from orchestration.ports import any_free_port
from tests.e2e.conftest import Baton
from tests.e2e.cutting_proxy import CuttingProxy
from tests.e2e.ray_task import Task
from tests.e2e.waiting import wait_until

COUNT = "for n in range(50): print('line', n, '; $(echo no shell) `ls`', flush=True)"

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


@pytest.mark.faults
def test_a_whole_job_behind_tls_of_a_private_authority(
    baton: Baton, connect: Any, task: Task, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Submission, code, log, end, what is left over, stop, and what plan asks: all through a listener that has only TLS."""
    from airflow_ray.hook import RayHook
    from tests.airflow_ray.tls import private_ca

    ca = private_ca(tmp_path)
    (tmp_path / "shipped.py").write_text(
        "import sys, time; print('shipped', flush=True); time.sleep(float(sys.argv[1]))"
    )
    for command in (["init", "-q"], ["add", "shipped.py"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    with CuttingProxy(baton.services.ray_port, tls=ca.context()) as proxy:
        extra = {"verify": str(ca.ca), "working_dir": str(tmp_path)}
        connect(port=proxy.port, schema="https", extra=extra)
        attempt = task.attempt(["python", "-m", "shipped", 0]).ended()
        assert attempt.error is None and "shipped" in capsys.readouterr().out
        client = RayHook().get_conn()
        assert client.leftovers(client.find(attempt.result)) == []
        assert len(client.nodes()) == len(client.labels()) == 1
        task.clear_number = 1
        long = task.attempt(["python", "-m", "shipped", 600])
        long.start()
        task.wait_for({"c0-n0": "SUCCEEDED", "c1-n0": "RUNNING"})
        long.operator.on_kill()
        assert "was stopped" in str(long.ended().error)
        connect(port=proxy.port, schema="https")
        refused = task.attempt("print('x')").ended().error
    assert "Remedy: set verify in connection ray_default" in str(refused)
    assert task.jobs() == {"c0-n0": "SUCCEEDED", "c1-n0": "STOPPED"}


def test_a_wrong_token_is_refused_and_not_shown(baton: Baton, task: Task, connect: Any) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    connect(password="wrong-token-1234")
    error = task.attempt("print('x')").ended().error
    assert isinstance(error, AirflowFailException)
    assert "refuses the token" in str(error) and "wrong-token-1234" not in str(error)


@pytest.mark.parametrize("field", [pytest.param("headers", marks=pytest.mark.faults), "cookies"])
def test_a_token_may_come_as_a_header_or_a_cookie(baton: Baton, connect: Any, field: str) -> None:
    """What a proxy before Ray asks for; Ray itself takes its token so. The stream of a log has them too."""
    from airflow_ray.hook import RayHook

    token = json.loads(baton.services.environment()["AIRFLOW_CONN_RAY_DEFAULT"])["password"]
    name, value = {
        "headers": ("X-Ray-Authorization", f"Bearer {token}"),
        "cookies": ("ray-authentication-token", token),
    }[field]
    connect(password=None, extra={field: {name: value}})
    client = RayHook().get_conn()
    job = f"{field}-{time.time_ns()}"
    client.submit_once(entrypoint="echo hello", submission_id=job)
    wait_until(lambda: client.find(job).status == "SUCCEEDED", "the job's end")  # type: ignore[union-attr]

    async def stream() -> str:
        return "".join([text async for text in client.tail_job_logs(job)])

    assert "hello" in asyncio.run(stream())
    connect(password=None)
    ok, message = RayHook().test_connection()
    assert not ok and "wants a token" in message and "is never sent" in message


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


# -- what a task says of its job


def test_a_job_gets_what_its_task_says_and_its_result_comes_back(task: Task, connect: Any) -> None:
    connect(extra={"runtime_env": {"env_vars": {"COLOUR": "blue", "SHAPE": "round"}}})
    task.keywords.update(
        runtime_env={"env_vars": {"COLOUR": "red"}},
        metadata={"team": "forecasts"},
        entrypoint_num_cpus=1,
        entrypoint_label_selector={"ray.io/node-id": "!nowhere"},
        xcom_result=True,
    )
    code = (
        "import json, os, ray; ray.init(log_to_driver=False); "
        "found = {'colour': os.environ['COLOUR'], 'shape': os.environ['SHAPE'], 'free': ray.available_resources()['CPU']}; "
        "print('RAY_JOB_RESULT ' + json.dumps(found))"
    )
    attempt = task.attempt(code).ended()
    assert attempt.error is None
    assert attempt.result == {"colour": "red", "shape": "round", "free": 1.0}
    job = next(j for j in task.client.list_jobs() if (j.metadata or {}).get("run_id") == task.run_id)
    assert job.metadata["team"] == "forecasts" and job.metadata["task_id"] == "job"


@pytest.mark.faults
def test_a_label_that_no_node_has_keeps_the_job_waiting(task: Task) -> None:
    task.keywords["entrypoint_label_selector"] = {"zone": "moon"}
    attempt = task.attempt("print('x')")
    attempt.start()
    task.wait_for({"c0-n0": "PENDING"})
    attempt.operator.on_kill()
    assert "was stopped" in str(attempt.ended().error)
    assert task.jobs() == {"c0-n0": "FAILED"}


@pytest.mark.faults
def test_a_job_that_waits_for_room_says_so_and_is_stopped_at_once(
    task: Task, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ray's own stop does not reach such a job; it ends all the same, long before the task's stop_timeout."""
    from datetime import timedelta

    from airflow_ray import waiting

    monkeypatch.setattr(waiting, "FIRST_SECONDS", 0)
    task.keywords.update(entrypoint_num_cpus=3, stop_timeout=timedelta(hours=1))
    attempt = task.attempt("print('never')")
    attempt.start()
    task.wait_for({"c0-n0": "PENDING"})
    wait_until(lambda: "asks for 3 CPU, and 2 of 2 are free. No node has" in capsys.readouterr().out, "what is missing")
    attempt.operator.on_kill()
    assert "was stopped" in str(attempt.ended().error)
    assert task.jobs() == {"c0-n0": "FAILED"}
    task.keywords.update(entrypoint_num_cpus=1)
    assert task.attempt("print('x')").ended().error is None
    assert task.jobs() == {"c0-n0": "FAILED", "c0-n1": "SUCCEEDED"}


def test_fire_and_forget_and_a_sensor_that_waits(task: Task, connect: Any, tmp_path: Path) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    from airflow_ray.sensor import RayJobSensor

    go = tmp_path / "go"
    code = f"import time, pathlib\nwhile not pathlib.Path({str(go)!r}).exists(): time.sleep(0.1)\nprint('RAY_JOB_RESULT 7')"
    task.keywords["wait_for_completion"] = False
    attempt = task.attempt(code).ended()
    assert attempt.error is None
    assert task.attempt(code).ended().result == attempt.result, "a retry finds it"
    sensor = RayJobSensor(task_id="wait", submission_id=str(attempt.result), xcom_result=True)
    assert not sensor.poke({})
    go.touch()
    wait_until(lambda: task.jobs() == {"c0-n0": "SUCCEEDED"}, "the job's end")
    assert sensor.poke({}).xcom_value == 7  # type: ignore[union-attr]
    task.clear_number = 1
    failed = task.attempt("print('the reason'); raise SystemExit(3)").ended()
    wait_until(lambda: task.jobs() == {"c0-n0": "SUCCEEDED", "c1-n0": "FAILED"}, "the job's end")
    with pytest.raises(AirflowFailException, match=r"(?s)failed \(exit code 3\):.*\nthe reason"):
        RayJobSensor(task_id="wait", submission_id=str(failed.result)).poke({})
    with pytest.raises(AirflowFailException, match="does not know job nobody"):
        RayJobSensor(task_id="wait", submission_id="nobody").poke({})


@pytest.mark.faults
def test_without_durability_a_retry_starts_anew(task: Task) -> None:
    task.keywords["durable"] = False
    lost = task.attempt("import time; time.sleep(600)")
    lost.start()
    task.wait_for({"c0-n0": "RUNNING"})
    lost.vanish()
    assert task.attempt("print('x')").ended().error is None
    assert task.attempt("print('x')").ended().error is None
    assert task.jobs() == {"c0-n0": "STOPPED", "c0-n1": "SUCCEEDED", "c0-n2": "SUCCEEDED"}
