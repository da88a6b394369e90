"""An operator whose cluster is away at a moment when nothing is followed: at the start, at the submission, at the end."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowException

from airflow_ray.operator import RayJobOperator
from tests.airflow_ray.tls import listening


def operator(port: int, monkeypatch: pytest.MonkeyPatch, patience: timedelta) -> RayJobOperator:
    made = Connection(conn_id="ray_x", conn_type="ray", host="127.0.0.1", port=port)
    monkeypatch.setattr(BaseHook, "get_connection", classmethod(lambda cls, conn_id: made))
    return RayJobOperator(task_id="job", entrypoint=["x"], poll_interval=0.01, patience=patience)


def test_a_cluster_that_comes_back_in_time_costs_no_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(status=503) as listener:
        waiting = operator(listener.port, monkeypatch, timedelta(hours=1))
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(waiting._patiently(waiting._connect)))
        thread.start()
        while len(listener.seen) < 3:
            pass
        listener.status = None
        thread.join(30)
    assert [cluster.url for cluster in found] == [f"http://127.0.0.1:{listener.port}"]


def test_a_cluster_that_stays_away_ends_the_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(status=503) as listener, pytest.raises(AirflowException, match=r"no Ray at .* answered 503"):
        operator(listener.port, monkeypatch, timedelta(0)).execute({})  # type: ignore[typeddict-item]


def test_a_task_that_is_stopped_does_not_wait_for_its_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(status=503) as listener:
        waiting = operator(listener.port, monkeypatch, timedelta(hours=1))
        waiting.on_kill()
        with pytest.raises(AirflowException, match="the task was stopped"):
            waiting.execute({})  # type: ignore[typeddict-item]
