"""The plan's memory figures: DeepSpeed's own for the model states, transformers' own for the parameters."""

from typing import Any

import pytest

from handoff.model_shape import Shape
from orchestration.presets import gptj
from training.config import BaseModelConfig, LoraConfig, TrainingConfig
from training.counts import Counts, counts_by_sizes, counts_of
from training.estimate import TaskLimit, activations, memory_line, model_states, need, time_line, training_seconds

GPTJ = {
    "model_type": "gptj", "n_embd": 4096, "n_layer": 28, "n_head": 16, "n_inner": None, "vocab_size": 50400,
    "activation_function": "gelu_new", "tie_word_embeddings": False, "rotary_dim": 64, "n_positions": 2048,
}  # fmt: skip
SMOLLM2 = {
    "model_type": "llama", "hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "intermediate_size": 1536, "vocab_size": 49152, "hidden_act": "silu",
    "tie_word_embeddings": True,
}  # fmt: skip


def on_meta(settings: dict[str, Any]) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(**settings))


def counts(settings: dict[str, Any]) -> Counts:
    return counts_of(on_meta(settings), settings)


# Billions of parameters, and of those that a token passes through, as their makers state them.
MIXTURES = {"mixtral": (46.7, 12.9), "deepseek_v3": (671, 37), "gpt_oss": (116.8, 5.1)}


@pytest.mark.parametrize("kind", MIXTURES)
def test_a_mixture_of_experts_is_counted_whole(kind: str) -> None:
    """By the names of the makers' own configurations, which are transformers' defaults."""
    from transformers import AutoConfig

    found = counts(AutoConfig.for_model(kind).to_dict())
    whole, active = MIXTURES[kind]
    assert found.parameters / 1e9 == pytest.approx(whole, rel=5e-3)
    assert found.active / 1e9 == pytest.approx(active, rel=0.12)  # some count the embeddings as active, some do not
    shape = Shape.of_config(AutoConfig.for_model(kind).to_dict())
    config = TrainingConfig(base=BaseModelConfig(source="/models/m"), method="full")
    assert shape and counts_by_sizes(shape, AutoConfig.for_model(kind).to_dict(), config) is None, (
        "no guess without torch"
    )


def test_adapters_are_counted_where_they_are_put() -> None:
    """all-linear reaches a Mixtral's attention, its router, and its experts, whose adapter has a part for each of the four."""
    from training.base.fit_check import refuse_targets

    settings = {
        "model_type": "mixtral", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 256,
        "num_attention_heads": 4, "num_key_value_heads": 4, "num_local_experts": 4, "num_experts_per_tok": 2,
    }  # fmt: skip
    model = on_meta(settings)
    before = counts_of(model, settings)
    refuse_targets(model, LoraConfig(rank=2))
    found = counts_of(model, settings)
    assert found.parameters == before.parameters and found.adapters and not before.adapters
    attention, router = 4 * 2 * (64 + 64), 2 * (64 + 4)
    experts = 4 * 4 * (64 + 256) + 4 * 2 * (128 + 64)  # gate and up are one tensor, whose rank is doubled
    assert found.trained == 2 * (attention + router + experts)


def test_a_training_that_outlasts_its_task_is_warned_of() -> None:
    """7 B parameters on 1 TB of text with 16 H100: weeks, where the task has four attempts of a day."""
    config = TrainingConfig(
        base=BaseModelConfig(source="/models/m"),
        method="full",
        num_workers=16,
        use_gpu=True,
        precision="bf16",
        seq_len=4096,
    )
    seven = Counts(7_000_000_000, 7_000_000_000, 7_000_000_000, 1)
    nodes = [{"accelerator_type:H100": 1.0}]
    seconds = training_seconds(seven, config, 10**12, nodes)
    assert seconds and seconds / 86400 == pytest.approx(19.2, rel=0.01)
    line = time_line(seconds, TaskLimit(86400, 4)) or ""
    assert "about 19.2 days" in line and "WARNING: that is more than the 4 attempts of 24 hours" in line
    short = config.model_copy(update={"max_steps": 1000})
    assert "WARNING" not in (time_line(training_seconds(seven, short, 10**12, nodes), TaskLimit(86400, 4)) or "WARNING")
    assert training_seconds(seven, config, 10**12, [{"accelerator_type:unheard-of": 1.0}]) is None
    assert training_seconds(seven, config.model_copy(update={"use_gpu": False}), 10**12, nodes) is None


@pytest.mark.parametrize("settings", [GPTJ, SMOLLM2])
def test_parameters_are_those_of_the_model(settings: dict[str, Any]) -> None:
    model = on_meta(settings)
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
    line = memory_line(GPTJ, counts(GPTJ), gptj().training)
    assert line and "6.05 B parameters" in line and "per GPU" in line and "under ZeRO 3 with 32 workers" in line
    assert all(f"{stage}: " in line for stage in (0, 1, 2))
    assert "a checkpoint has 84.71 GB, 2 are kept" in line
    assert memory_line({"model_type": "something", "d_model": 8}, counts(GPTJ), gptj().training) is None


def test_each_knob_lowers_the_need() -> None:
    shape = Shape.of_config(GPTJ)
    assert shape
    plain = TrainingConfig(
        base=BaseModelConfig(source="/models/m"), method="full", num_workers=8, precision="bf16", micro_batch_size=4
    )
    by_stage = [need(counts(GPTJ), shape, plain, stage).device for stage in range(4)]
    assert by_stage == sorted(by_stage, reverse=True)
    lower = plain.model_copy(update={"activation_checkpointing": True})
    assert activations(shape, lower) < activations(shape, plain) / 2
    assert (
        need(
            counts_by_sizes(shape, GPTJ, lora := plain.model_copy(update={"method": "lora"})) or counts(GPTJ),
            shape,
            lora,
            2,
        ).device
        < by_stage[2]
    )
