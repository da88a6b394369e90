"""The plan's memory figures: DeepSpeed's own for the model states, transformers' own for the parameters."""

from typing import Any

import pytest

from handoff.model_shape import Shape
from orchestration.presets import gptj
from training.config import BaseModelConfig, TrainingConfig
from training.estimate import activations, memory_line, model_states, need

GPTJ = {
    "model_type": "gptj", "n_embd": 4096, "n_layer": 28, "n_head": 16, "n_inner": None, "vocab_size": 50400,
    "activation_function": "gelu_new", "tie_word_embeddings": False, "rotary_dim": 64, "n_positions": 2048,
}  # fmt: skip
SMOLLM2 = {
    "model_type": "llama", "hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "intermediate_size": 1536, "vocab_size": 49152, "hidden_act": "silu",
    "tie_word_embeddings": True,
}  # fmt: skip


@pytest.mark.parametrize("settings", [GPTJ, SMOLLM2])
def test_parameters_are_those_of_the_model(settings: dict[str, Any]) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**settings))
    shape = Shape.of_config(settings)
    assert shape and shape.parameters == pytest.approx(sum(p.numel() for p in model.parameters()), rel=2e-3)


@pytest.mark.parametrize(("optimizer", "weights"), [(False, False), (True, False), (True, True)])
def test_zero_3_states_are_deepspeeds_own(optimizer: bool, weights: bool) -> None:
    from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs

    total, largest, per_node, nodes = 6_050_000_000, 206_000_000, 8, 4
    host, device, _ = estimate_zero3_model_states_mem_needs(
        total, largest, per_node, nodes, cpu_offload=optimizer, cpu_offload_params=weights, zero_init=True
    )
    mine = model_states(total, largest, per_node * nodes, 3, optimizer=optimizer, weights=weights)
    assert mine.device == pytest.approx(device, rel=1e-6)
    assert mine.host * per_node == pytest.approx(host, rel=1e-6)


@pytest.mark.parametrize("optimizer", [False, True])
def test_zero_2_states_are_deepspeeds_own(optimizer: bool) -> None:
    from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs

    host, device = estimate_zero2_model_states_mem_needs(135_000_000, 8, 1, cpu_offload=optimizer)
    mine = model_states(135_000_000, 0, 8, 2, optimizer=optimizer, weights=False)
    assert mine.device == pytest.approx(device, rel=1e-6)
    assert mine.host * 8 == pytest.approx(host, rel=1e-6)


def test_the_plan_says_what_gptj_needs() -> None:
    line = memory_line(GPTJ, gptj().training)
    assert line and "6.05 B parameters" in line and "per GPU" in line and "under ZeRO 3 with 32 workers" in line
    assert all(f"{stage}: " in line for stage in (0, 1, 2))
    assert memory_line({"model_type": "something", "d_model": 8}, gptj().training) is None


def test_each_knob_lowers_the_need() -> None:
    shape = Shape.of_config(GPTJ)
    assert shape
    plain = TrainingConfig(
        base=BaseModelConfig(source="/models/m"), method="full", num_workers=8, precision="bf16", micro_batch_size=4
    )
    by_stage = [need(shape, plain, stage).device for stage in range(4)]
    assert by_stage == sorted(by_stage, reverse=True)
    lower = plain.model_copy(update={"activation_checkpointing": True})
    assert activations(shape, lower) < activations(shape, plain) / 2
    assert need(shape, plain.model_copy(update={"method": "lora"}), 2).device < by_stage[2]
