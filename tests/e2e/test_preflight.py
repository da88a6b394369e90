"""What the plan says of engines, asked of real ones: nothing there, and too little there."""

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
