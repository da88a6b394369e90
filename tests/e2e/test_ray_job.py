"""RayJobOperator on a real Ray: its log, its failures, its end."""

import json
import re
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.e2e.conftest import Baton, free_port


@pytest.fixture
def operator(baton: Baton, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A function that runs one operator with an entrypoint, as a task would; the id is unique per call."""
    from airflow.sdk import BaseHook, Connection

    from orchestration.ray_job import RayJobOperator

    settings = json.loads(baton.services.environment()["AIRFLOW_CONN_RAY_DEFAULT"])
    monkeypatch.setattr(BaseHook, "get_connection", lambda conn_id: Connection(conn_id=conn_id, **settings))

    def make(code: str) -> tuple[Any, dict[str, Any]]:
        made = RayJobOperator(task_id="job", entrypoint=["python", "-c", code])
        instance = SimpleNamespace(
            dag_id="d", run_id=f"r{time.time_ns()}", task_id="job", try_number=1, xcom_push=lambda key, value: None
        )
        return made, {"ti": instance}

    yield make


def test_every_line_of_the_job_is_in_the_log_once_and_in_order(
    operator: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    job, context = operator("for n in range(50): print('line', n, '; $(echo no shell) `ls`', flush=True)")
    job.execute(context)
    logged = re.findall(r"line (\d+) ; \$\(echo no shell\) `ls`", capsys.readouterr().out)
    assert logged == [str(n) for n in range(50)]


def test_a_failure_carries_the_end_of_the_log(operator: Any) -> None:
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    job, context = operator("print('the reason'); raise SystemExit(3)")
    with pytest.raises(AirflowException, match="exit code 3") as caught:
        job.execute(context)
    assert "the reason" in str(caught.value) and not isinstance(caught.value, AirflowFailException)


def test_a_users_error_is_not_retried(operator: Any) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    job, context = operator("print('ERROR corpus: no such file'); raise SystemExit(2)")
    with pytest.raises(AirflowFailException, match="ERROR corpus: no such file"):
        job.execute(context)


def test_a_stopped_task_stops_its_job_and_is_not_green(operator: Any) -> None:
    from airflow.sdk.exceptions import AirflowException

    job, context = operator("import time; print('up', flush=True); time.sleep(600)")
    ended: list[BaseException] = []

    def run() -> None:
        try:
            job.execute(context)
        except AirflowException as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if job._submission_id and job._client.get_job_status(job._submission_id) == "RUNNING":
            break
        time.sleep(0.2)
    job.on_kill()
    thread.join(30)
    assert job._client.get_job_status(job._submission_id) == "STOPPED"
    assert ended and "was stopped" in str(ended[0])


def test_a_wrong_token_is_refused_and_named(baton: Baton) -> None:
    from airflow.sdk import Connection

    from orchestration.ray_job import jobs_client

    wrong = Connection(conn_id="x", conn_type="http", host="127.0.0.1", port=baton.services.ray_port, password="wrong")
    with pytest.raises(ConnectionError):
        jobs_client(wrong)


def test_no_ray_at_all_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk import BaseHook, Connection

    from handoff.errors import EngineUnavailable
    from orchestration.preflight import check_ray, check_spark

    nowhere = Connection(conn_id="x", conn_type="spark", host="127.0.0.1", port=free_port(), password="t")
    monkeypatch.setattr(BaseHook, "get_connection", lambda conn_id: nowhere)
    with pytest.raises(EngineUnavailable, match=f"no Ray answers at http://127.0.0.1:{nowhere.port}"):
        check_ray("ray_default")
    with pytest.raises(EngineUnavailable, match=f"no Spark master answers at 127.0.0.1:{nowhere.port}"):
        check_spark("spark_default", None)  # type: ignore[arg-type]
