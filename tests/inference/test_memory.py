"""What the plan says of a replica: the memory that the model really takes, what would hold it, which engine suits."""

import json
from pathlib import Path
from typing import Any

import pytest

from handoff.errors import CapacityError, ConfigError
from handoff.tokenizer import ModelTokenizer
from inference.advice import engine_advice
from inference.config import InferenceConfig
from inference.engines.transformers import TransformersEngine
from inference.memory import need, replica_memory

LLAMA_70B: dict[str, Any] = {
    "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64,
    "num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": False, "hidden_act": "silu",
}  # fmt: skip
H100 = {"CPU": 64.0, "GPU": 8.0, "memory": 1e12, "accelerator_type:H100": 1.0}


def on_gpu(**values: Any) -> InferenceConfig:
    return InferenceConfig(use_gpu=True, **values)


def test_weights_and_cache_are_those_of_the_loaded_model(tiny_model: Path) -> None:
    config = InferenceConfig(batch_tokens=100)
    settings = json.loads((tiny_model / "config.json").read_text())
    found = need(settings, config)
    model = TransformersEngine(config, str(tiny_model), ModelTokenizer.of_directory(tiny_model)).model
    import torch

    cache = model(input_ids=torch.ones(4, 25, dtype=torch.long)).past_key_values
    assert found and found.cache == sum(t.nbytes for layer in cache.layers for t in (layer.keys, layer.values))
    held = {id(t): t.numel() * t.element_size() for t in [*model.parameters(), *model.buffers()]}  # each once
    assert found.weights == pytest.approx(sum(held.values()), rel=0.01)


def test_the_plan_says_how_many_cards_hold_a_replica() -> None:
    with pytest.raises(
        CapacityError, match=r"143\.8 GB on each of 1 GPUs \(H100 \(80 GB\): 2 of them\).*tensor_parallel to 2"
    ):
        replica_memory(LLAMA_70B, on_gpu(), [H100])
    with pytest.raises(CapacityError, match="H100"):  # 2 cards hold the weights, and not so large a cache
        replica_memory(LLAMA_70B, on_gpu(tensor_parallel=2, batch_tokens=100_000), [H100])
    line = replica_memory(LLAMA_70B, on_gpu(tensor_parallel=4), [H100])
    assert line and "35.95 GB on each of 4 GPUs (H100 (80 GB): 2 of them)" in line
    assert "needs 141.1" in line and "2.68 GB of cache (8,192 tokens)" in line
    assert replica_memory(LLAMA_70B, on_gpu(), [{"GPU": 8.0}]), "a card of unknown size is not judged"
    with pytest.raises(ConfigError, match="multiple"):
        replica_memory(LLAMA_70B, on_gpu(tensor_parallel=3), [H100])


def test_on_cpus_a_nodes_memory_counts() -> None:
    with pytest.raises(CapacityError, match=r"287\.6 GB of memory per replica, the largest node offers 20\.0 GB"):
        replica_memory(LLAMA_70B, InferenceConfig(), [{"CPU": 2.0, "memory": 2e10}, {"CPU": 2.0, "memory": 1e10}])
    assert replica_memory(LLAMA_70B, InferenceConfig(), [{"CPU": 2.0, "memory": 3e11}])
    assert replica_memory({"model_type": "mamba"}, InferenceConfig(), [{"memory": 1.0}]) is None
    experts = {**LLAMA_70B, "num_local_experts": 8}
    assert replica_memory(experts, InferenceConfig(), [{"memory": 1.0}]) is None
    counted = replica_memory(experts, InferenceConfig(), [{"memory": 3e12}], 400_000_000_000)
    assert counted and "1600.00 GB of weights" in counted


@pytest.mark.parametrize(
    ("values", "expected", "limit"),
    [
        ({}, "engine transformers advised: at most 1,536 tokens of answers", "11 s longer to start"),
        ({"engine": "vllm"}, "engine transformers advised (configured: vllm)", "11 s longer to start"),
        ({"n": 4}, "engine vllm advised (configured: transformers): on a CPU", "other models were not measured"),
        ({"prompts": "asked.jsonl"}, "330 to 198 with two", "other models were not measured"),
        ({"use_gpu": True}, "engine vllm advised (configured: transformers): on GPUs", "not measured here on a GPU"),
        ({"use_gpu": True, "engine": "vllm", "n": 4}, "(4 answers to each prompt share one)", "not measured"),
        ({"use_gpu": True, "template": "Answer: {prompt}"}, "begins with 8 characters that all prompts have", "not"),
        ({"use_gpu": True, "task": "score"}, "engine transformers advised: a score is one pass", "not measured"),
    ],
)
def test_the_plan_advises_an_engine_and_says_why_and_what_was_not_measured(
    values: dict[str, Any], expected: str, limit: str
) -> None:
    line = engine_advice(InferenceConfig(**values))
    assert expected in line and limit in line and "\n" not in line
