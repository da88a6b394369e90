"""How much memory a replica of a model needs, from its ``config.json`` alone: before anything starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from handoff.errors import CapacityError
from handoff.model_shape import Shape
from inference.config import InferenceConfig
from inference.engines.split import check_split

# Memory of a card by the type that Ray gives its node (``accelerator_type:H100``), from NVIDIA's data sheets. Of cards
# that come in two sizes under one type, the smaller one.
CARDS = {"H200": 141e9, "H100": 80e9, "A100": 40e9, "L40S": 48e9, "A10G": 24e9, "L4": 24e9, "V100": 16e9, "T4": 16e9}
USABLE = 0.9  # of a card: the rest goes to the driver's context and to what a step computes


@dataclass(frozen=True)
class Need:
    """Bytes of one replica, over all its devices.

    Attributes:
        weights: of the model.
        cache: keys and values of ``batch_tokens`` tokens.
    """

    weights: int
    cache: int

    @property
    def whole(self) -> int:
        return self.weights + self.cache


def need(settings: Mapping[str, Any], config: InferenceConfig, parameters: int | None = None) -> Need | None:
    """What a replica needs; None for models whose sizes ``config.json`` does not tell in the usual words.

    Args:
        settings: the model's ``config.json``.
        config: the inference section.
        parameters: as they were counted. Unset: by the sizes, which is None for mixtures of experts: these have more
            weights than the sizes say.
    """
    shape = Shape.of_config(settings)
    if shape is None or (parameters is None and any("expert" in name for name, value in settings.items() if value)):
        return None
    width = 4 if config.weights_dtype == "float32" else 2
    numbers = parameters or shape.parameters
    if shape.tied and config.through_onednn:
        numbers += shape.largest_layer  # the output layer's own copy
    return Need(width * numbers, width * shape.key_value_numbers * config.batch_tokens)


def devices(settings: Mapping[str, Any], found: Need, card_bytes: float) -> int | None:
    """The fewest cards that hold a replica and that its attention heads can be dealt out to; None if 64 do not."""
    shape = Shape.of_config(settings)
    assert shape
    even = (n for n in range(1, 65) if shape.heads % n == 0 and shape.key_value_heads % n == 0)
    return next((n for n in even if found.whole / n <= USABLE * card_bytes), None)


def replica_memory(
    settings: Mapping[str, Any],
    config: InferenceConfig,
    nodes: Sequence[Mapping[str, float]],
    parameters: int | None = None,
) -> str | None:
    """What a plan says of a replica's memory; None for unknown sizes.

    Args:
        settings: the model's ``config.json``.
        config: the inference section.
        nodes: each node's resources, as Ray names them.
        parameters: of the model, as they were counted.

    Raises:
        ConfigError: the model cannot be split over ``tensor_parallel`` devices.
        CapacityError: no node holds a replica, with what would.
    """
    check_split(settings, config.tensor_parallel)
    found = need(settings, config, parameters)
    if found is None:
        return None
    line = (
        f"a replica needs {found.weights / 1e9:.2f} GB of weights and {found.cache / 1e9:.2f} GB of cache "
        f"({config.batch_tokens:,} tokens)"
    )
    return line + (_on_cards if config.use_gpu else _in_memory)(settings, config, found, nodes)


def _on_cards(
    settings: Mapping[str, Any], config: InferenceConfig, found: Need, nodes: Sequence[Mapping[str, float]]
) -> str:
    each = found.whole / config.tensor_parallel
    line = f": {each / 1e9:.2f} GB on each of {config.tensor_parallel} GPUs"
    kinds = {name.split(":")[1] for node in nodes for name in node if name.startswith("accelerator_type:")}
    known = {kind: CARDS[kind] for kind in sorted(kinds & CARDS.keys())}
    if not known:
        return line
    least = {kind: devices(settings, found, size) for kind, size in known.items()}
    told = "; ".join(
        f"{kind} ({known[kind] / 1e9:.0f} GB): {f'{n} of them' if n else 'too small'}" for kind, n in least.items()
    )
    if all(each > USABLE * size for size in known.values()):
        enough = min((n for n in least.values() if n), default=None)
        raise CapacityError(
            f"inference needs {each / 1e9:.1f} GB on each of {config.tensor_parallel} GPUs ({told}). Remedy: "
            + (f"set inference.tensor_parallel to {enough}, or " if enough else "use larger GPUs, or ")
            + "lower inference.batch_tokens"
        )
    return f"{line} ({told})"


def _in_memory(
    settings: Mapping[str, Any], config: InferenceConfig, found: Need, nodes: Sequence[Mapping[str, float]]
) -> str:
    most = max((node.get("memory", 0) for node in nodes), default=0)
    if most and found.whole > most:
        raise CapacityError(
            f"inference needs {found.whole / 1e9:.1f} GB of memory per replica, the largest node offers "
            f"{most / 1e9:.1f} GB. Remedy: lower inference.batch_tokens, or use larger nodes or GPUs"
        )
    return ""
