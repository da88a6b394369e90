"""Parameters of a model, counted by name and shape: no formula, and no weights are read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from handoff.model_shape import Shape
from training.config import TrainingConfig

EXPERT = re.compile(r"(^|\.)(experts|expert_\d+|moe)\.")
SHARED = re.compile(r"shared_expert")
ADAPTER = "lora_"


@dataclass(frozen=True)
class Counts:
    """Parameters of a model.

    Attributes:
        parameters: all of the model itself, tied ones once, adapters not.
        trained: those that training changes: all, or the adapters'.
        active: those that a token passes through: of a mixture's experts, the share that its router chooses.
        largest_module: of the module with most parameters of its own, which ZeRO 3 gathers whole.
        adapters: whether ``trained`` are adapters.
    """

    parameters: int
    trained: int
    active: int
    largest_module: int
    adapters: bool = False


def counts_of(model: Any, settings: Mapping[str, Any]) -> Counts:
    """Count a model on the meta device; one that has adapters already is trained by them.

    Args:
        model: of transformers, with or without LoRA's layers in it.
        settings: its ``config.json``.
    """
    named = {name: p.numel() for name, p in model.named_parameters()}
    adapters = sum(size for name, size in named.items() if ADAPTER in name)
    own = {name: size for name, size in named.items() if ADAPTER not in name}
    whole = sum(own.values())
    experts = sum(size for name, size in own.items() if EXPERT.search(name) and not SHARED.search(name))
    largest = max(
        (sum(p.numel() for n, p in m.named_parameters(recurse=False) if ADAPTER not in n) for m in model.modules()),
        default=0,
    )
    share = _chosen(settings)
    return Counts(whole, adapters or whole, whole - int(experts * (1 - share)), largest, bool(adapters))


def counts_by_sizes(shape: Shape, settings: Mapping[str, Any], config: TrainingConfig) -> Counts | None:
    """Counted by the sizes in ``config.json``, where torch is not installed: right for dense Llama-like and GPT-like models.

    None for mixtures of experts, which have more weights than those sizes say.
    """
    if any("expert" in name for name, value in settings.items() if value):
        return None
    whole, adapters = shape.parameters, config.method == "lora"
    trained = shape.adapters(config.lora.rank) if adapters else whole
    return Counts(whole, trained, whole, shape.largest_layer, adapters)


def _chosen(settings: Mapping[str, Any]) -> float:
    """Share of a mixture's experts that each token passes through; 1 where the configuration does not say."""
    inner = settings.get("text_config") or {}

    def find(*names: str) -> Any:
        return next((v for where in (settings, inner) for n in names if (v := where.get(n))), None)

    experts = find("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
    chosen = find("num_experts_per_tok", "num_experts_per_token", "moe_topk", "top_k_experts", "moe_k")
    return min(1.0, chosen / experts) if isinstance(experts, int) and isinstance(chosen, int) and experts else 1.0
