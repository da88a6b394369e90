"""Tokenising finds a place beside workers that fill the cluster."""

from training.config import BaseModelConfig, TrainingConfig
from training.data.slots import data_slots


def config(**values: object) -> TrainingConfig:
    return TrainingConfig(base=BaseModelConfig(source="/models/m"), **values)  # type: ignore[arg-type]


def test_data_tasks_ask_for_no_cpu_where_workers_take_all(ray_cluster: None) -> None:
    assert data_slots(config(num_workers=4)) == (0.0, 1)
    assert data_slots(config(num_workers=2)) == (1.0, 2)
