"""What the plan says of engines, asked of real ones: nothing there, and too little there."""

import json
from pathlib import Path
from typing import Any

import pytest

from orchestration.ports import any_free_port
from tests.e2e.conftest import Baton


def test_no_ray_at_all_is_said_at_once(connect: Any) -> None:
    from handoff.errors import EngineUnavailable
    from orchestration.preflight import check_ray, check_spark

    port = any_free_port()
    connect(conn_type="spark", port=port)
    with pytest.raises(EngineUnavailable, match=f"no Ray at http://127.0.0.1:{port}"):
        check_ray("ray_default")
    with pytest.raises(EngineUnavailable, match=f"no Spark master answers at 127.0.0.1:{port}"):
        check_spark("spark_default", None)  # type: ignore[arg-type]


def test_what_the_cluster_cannot_hold_is_said_before_anything_waits(baton: Baton, connect: Any) -> None:
    from handoff.capacity import Group
    from handoff.errors import CapacityError
    from orchestration.preflight import check_ray

    assert check_ray("ray_default", Group("workers", "training.num_workers", 2, 1, 0)).endswith("2 CPU, 0 GPU")
    too_much = Group("workers", "training.num_workers", 3, 1, 0), Group("actors", "inference.num_actors", 1, 1, 1)
    with pytest.raises(CapacityError) as caught:
        check_ray("ray_default", *too_much)
    workers, actors = str(caught.value).splitlines()
    assert "needs 3 workers x 1 CPU, the Ray cluster has 2 CPU, 0 GPU: room for 2. Remedy: lower training" in workers
    assert "lower inference.num_actors or set inference.use_gpu to false" in actors


@pytest.mark.faults
def test_a_head_alone_is_asked_again_and_not_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a head was replaced, *plan* may come before the workers: what is not there yet is no user's fault."""
    from airflow.sdk import BaseHook, Connection

    from handoff.capacity import Group
    from handoff.errors import EngineUnavailable
    from orchestration.preflight import check_ray
    from orchestration.services import Services

    monkeypatch.setenv("BATON_HOME", str(tmp_path))
    monkeypatch.setenv("BATON_RAY_PORT", str(any_free_port()))
    services = Services()
    settings = json.loads(services.environment()["AIRFLOW_CONN_RAY_DEFAULT"])
    made = Connection(conn_id="ray_default", **settings)
    monkeypatch.setattr(BaseHook, "get_connection", classmethod(lambda cls, conn_id: made))
    command = services._ray_command()
    monkeypatch.setattr(services, "_ray_command", lambda: [*command, "--num-cpus=0"])
    services.launch("ray")
    try:
        services.wait_for_ray()
        with pytest.raises(EngineUnavailable, match=r"no node has joined it yet.*tried again"):
            check_ray("ray_default", Group("workers", "training.num_workers", 2, 1, 0))
    finally:
        services.stop()
