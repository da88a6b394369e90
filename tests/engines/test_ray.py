"""Which Ray a job joins, and room that is counted node by node before anything waits for it."""

import os
import subprocess
import sys

import pytest

from engines.ray import ADDRESS_VARIABLE, require_room, wait_for_room
from handoff.capacity import Group
from handoff.errors import CapacityError

ASK = """
import ray
from engines.ray import connect
connect()
print(ray.get_runtime_context().gcs_address)
"""


@pytest.mark.parametrize(
    ("node", "cpus", "gpus", "fit"),
    [
        ({"CPU": 2.0}, 1, 0, 2),
        ({"CPU": 2.0}, 0.5, 0, 4),
        ({"CPU": 2.0}, 3, 0, 0),
        ({"CPU": 64.0, "GPU": 8.0}, 8, 1, 8),
        ({"CPU": 16.0, "GPU": 8.0}, 8, 1, 2),
        ({"CPU": 64.0}, 8, 1, 0),
    ],
)
def test_places_on_a_node(node: dict[str, float], cpus: float, gpus: int, fit: int) -> None:
    assert Group("workers", "training.num_workers", 1, cpus, gpus).places(node) == fit


def test_more_than_the_cluster_has_is_said_at_once(ray_cluster: None) -> None:
    require_room(Group("actors", "inference.num_actors", 4, 1, 0))
    with pytest.raises(CapacityError, match=r"needs 5 workers x 1 CPU, .* has 4 CPU.*Remedy: lower"):
        require_room(Group("workers", "training.num_workers", 5, 1, 0))
    with pytest.raises(CapacityError, match=r"1 GPU.*use_gpu"):
        require_room(Group("workers", "training.num_workers", 1, 1, 1))


def test_nodes_that_join_late_are_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    """A head that does no work itself was replaced: its workers come back one by one."""
    group = Group("workers", "training.num_workers", 2, 1, 0)
    seen = iter([[{}], [{}, {"CPU": 1.0}], [{}, {"CPU": 1.0}, {"CPU": 1.0}]])
    with caplog.at_level("INFO"):
        wait_for_room(group, lambda: next(seen))
    assert caplog.text.count("Waiting up to 120 s") == 1
    with pytest.raises(CapacityError, match="room for 1"):
        wait_for_room(group, lambda: [{}, {"CPU": 1.0}], seconds=0)
    with pytest.raises(CapacityError, match="room for 1"):  # a laptop: at once
        wait_for_room(group, lambda: [{"CPU": 1.0}])


def asked(**environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k != ADDRESS_VARIABLE}
    return subprocess.run(
        [sys.executable, "-c", ASK], env=kept | environment, capture_output=True, text=True, timeout=120
    )


def test_without_an_address_a_job_has_a_ray_of_its_own_beside_any_other(ray_cluster: None) -> None:
    """Ray itself joins whatever cluster it finds on the machine."""
    import ray

    found = asked()
    assert found.returncode == 0, found.stderr
    own = found.stdout.split()[-1]
    assert ":" in own and own != ray.get_runtime_context().gcs_address
