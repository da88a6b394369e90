"""Learning rate, parameter groups, and the configuration that DeepSpeed itself accepts."""

from typing import Any

import pytest

from training.config import BaseModelConfig, TrainingConfig
from training.worker.deepspeed_config import deepspeed_config, learning_rate, parameter_groups


def config(**values: Any) -> TrainingConfig:
    return TrainingConfig(base=BaseModelConfig(source="/models/m"), **values)


def rates(total: int, **values: Any) -> list[float]:
    return [learning_rate(step, total, config(learning_rate=0.1, **values)) for step in range(total)]


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_rate_rises_to_the_peak_and_never_above(schedule: str) -> None:
    found = rates(100, schedule=schedule, warmup_fraction=0.1)
    assert found[:10] == sorted(found[:10]) and found[0] > 0
    assert found[10] == pytest.approx(0.1) == max(found)
    assert found[10:] == sorted(found[10:], reverse=True)


def test_schedules_end_where_their_names_say() -> None:
    assert rates(100, schedule="constant")[-1] == pytest.approx(0.1)
    assert rates(100, schedule="linear", warmup_fraction=0)[50] == pytest.approx(0.05)
    assert rates(100, schedule="cosine", warmup_fraction=0)[50] == pytest.approx(0.05)
    assert 0 < rates(100, schedule="cosine")[-1] < 0.001


def test_one_step_trains_at_the_peak() -> None:
    assert rates(1) == [0.1]


def test_biases_and_norms_do_not_decay() -> None:
    import torch

    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.LayerNorm(4))
    model[0].weight.requires_grad = True
    decayed, plain = parameter_groups(model.named_parameters(), 0.1)
    assert [p.shape for p in decayed["params"]] == [(4, 4)] and decayed["weight_decay"] == 0.1
    assert len(plain["params"]) == 3 and plain["weight_decay"] == 0.0
    model[0].weight.requires_grad = False
    assert parameter_groups(model.named_parameters(), 0.1)[0]["params"] == []


def test_gradients_are_accumulated_to_the_global_batch() -> None:
    made = deepspeed_config(config(seq_len=16, micro_batch_size=2, num_workers=4, global_batch_tokens=384), 4)
    assert (made["train_batch_size"], made["gradient_accumulation_steps"]) == (24, 3)
    fewer = deepspeed_config(config(seq_len=16, micro_batch_size=2, num_workers=4, global_batch_tokens=384), 3)
    assert (fewer["train_batch_size"], fewer["gradient_accumulation_steps"]) == (24, 4)
    odd = deepspeed_config(config(seq_len=16, micro_batch_size=2, num_workers=6, global_batch_tokens=384), 5)
    assert (odd["train_batch_size"], odd["gradient_accumulation_steps"]) == (30, 3), "places, six of them empty"


def test_a_global_batch_that_cannot_be_reached_is_refused_with_those_that_can() -> None:
    with pytest.raises(ValueError, match=r"400 is no multiple .* = 128\): take 384 or 512"):
        config(seq_len=16, micro_batch_size=2, num_workers=4, global_batch_tokens=400)


def test_offload_reaches_deepspeed() -> None:
    made = deepspeed_config(config(zero_stage=3, offload_optimizer=True, offload_parameters=True, use_gpu=True), 2)
    zero = made["zero_optimization"]
    assert zero["offload_optimizer"]["device"] == zero["offload_param"]["device"] == "cpu"
