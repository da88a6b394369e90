"""Running out of memory is explained, with what to change and in which order."""

from typing import Any

import pytest

from training.config import BaseModelConfig, TrainingConfig
from training.worker.memory import OutOfMemory, explain_out_of_memory, knobs


def config(**values: Any) -> TrainingConfig:
    return TrainingConfig(base=BaseModelConfig(source="/models/m"), **values)


def test_an_allocation_that_fails_lists_the_knobs() -> None:
    import torch

    expected = r"host memory .*Remedy.*: training\.micro_batch_size 4 .*activation_check"
    with pytest.raises(OutOfMemory, match=expected), explain_out_of_memory(config(micro_batch_size=8)):
        torch.empty(1 << 46)
    with pytest.raises(RuntimeError, match="shapes") as other, explain_out_of_memory(config()):
        torch.ones(2, 3) @ torch.ones(2, 3)
    assert not isinstance(other.value, OutOfMemory)


def test_knobs_come_cheapest_first_and_never_twice() -> None:
    first = knobs(config(micro_batch_size=4, num_workers=2, use_gpu=True, method="full", zero_stage=1))
    order = ["micro_batch", "activation", "bf16", "zero_stage 2", "offload_opt", "offload_param", "lora", "seq_len"]
    assert [next(n for n, knob in enumerate(first) if word in knob) for word in order] == list(range(len(order)))
    used = knobs(
        config(
            num_workers=2, use_gpu=True, zero_stage=3, offload_optimizer=True, offload_parameters=True,
            precision="bf16", activation_checkpointing=True,
        )
    )  # fmt: skip
    assert len(used) == 2 and used[0].startswith("seq_len")


def test_the_smaller_micro_batch_keeps_the_global_batch() -> None:
    before = config(seq_len=16, micro_batch_size=8, num_workers=2)
    after = config(seq_len=16, micro_batch_size=4, num_workers=2, global_batch_tokens=before.tokens_per_step)
    assert f"global_batch_tokens {before.tokens_per_step}" in knobs(before)[0]
    assert (after.tokens_per_step, after.gradient_accumulation(2)) == (before.tokens_per_step, 2)
