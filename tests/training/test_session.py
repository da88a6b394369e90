"""Room on the cluster is counted node by node, before anything waits for it."""

import pytest

from handoff.capacity import Group
from handoff.errors import CapacityError
from training.config import BaseModelConfig, TrainingConfig
from training.session import data_slots, require_room


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


def config(**values: object) -> TrainingConfig:
    return TrainingConfig(base=BaseModelConfig(source="/models/m"), **values)  # type: ignore[arg-type]


def test_more_workers_than_cpus_is_said_at_once(ray_cluster: None) -> None:
    with pytest.raises(CapacityError, match=r"needs 5 workers x 1 CPU, .* has 4 CPU.*Remedy: lower"):
        require_room(config(num_workers=5).workers)


def test_gpus_that_are_not_there_are_said_at_once(ray_cluster: None) -> None:
    with pytest.raises(CapacityError, match=r"1 GPU.*use_gpu"):
        require_room(config(num_workers=1, use_gpu=True).workers)


def test_data_tasks_ask_for_no_cpu_where_workers_take_all(ray_cluster: None) -> None:
    assert data_slots(config(num_workers=4)) == (0.0, 1)
    assert data_slots(config(num_workers=2)) == (1.0, 2)
