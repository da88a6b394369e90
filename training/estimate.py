"""How much memory a training needs, by ZeRO stage, from the model's ``config.json`` alone: before anything is fetched.

Model states are counted as DeepSpeed's own estimators count them (``estimate_zero2_model_states_mem_needs`` and
``estimate_zero3_...``; a test compares), which assume mixed precision: per trained parameter 2 bytes of weights, 2 and 4 of gradients (stage 3: 4) and
12 of optimizer state (weights in fp32, two moments). Activations are added, which those leave out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from handoff.model_shape import Shape
from training.config import TrainingConfig

HOST_BUFFERS = 1.5  # DeepSpeed's factor for pinned and temporary buffers
# Bytes per token and hidden unit that a transformer layer keeps for its backward pass (Korthikanti et al., 2022).
LAYER_ACTIVATIONS = 34
LOGIT_BYTES = 10  # per token and vocabulary entry: bf16 logits, in fp32, and their gradient


@dataclass(frozen=True)
class Need:
    """Bytes per worker, on its device and in the memory of its host."""

    device: int
    host: int


def model_states(
    parameters: int, largest_layer: int, workers: int, stage: int, *, optimizer: bool, weights: bool
) -> Need:
    """Weights, gradients and optimizer state of one worker, all parameters being trained in mixed precision.

    Args:
        parameters: of the model.
        largest_layer: parameters of the largest module, which ZeRO 3 gathers whole.
        workers: that states are sharded over.
        stage: of ZeRO.
        optimizer, weights: whether they are offloaded to the host.
    """
    whole = {0: 20.0, 1: 8 + 12 / workers, 2: 2 + 18 / workers, 3: 18 / workers}[stage]
    if stage == 3:
        on_host = (18 if weights else 16) / workers if optimizer else 0.0
        left = {(True, True): 0.0, (True, False): 2 / workers}.get((optimizer, weights), whole)
        host = HOST_BUFFERS * (parameters * on_host if optimizer else 4 * largest_layer)
        return Need(int(4 * largest_layer + parameters * left), int(host))
    if optimizer:
        return Need(
            2 * parameters if stage == 2 else 8 * parameters, int(parameters * max(4, 16 / workers) * HOST_BUFFERS)
        )
    return Need(int(parameters * whole), int(parameters * 4 * HOST_BUFFERS))


def activations(shape: Shape, config: TrainingConfig) -> int:
    """Bytes that one forward pass leaves for the backward pass, logits among them."""
    tokens = config.micro_batch_size * config.seq_len
    layer = tokens * shape.hidden * LAYER_ACTIVATIONS
    kept = layer + shape.layers * tokens * shape.hidden * 2 if config.activation_checkpointing else shape.layers * layer
    return kept * (1 if config.precision == "bf16" else 2) + tokens * shape.vocabulary * LOGIT_BYTES


def need(shape: Shape, config: TrainingConfig, stage: int) -> Need:
    """What a worker needs under a ZeRO stage, with the offloading that is asked for and the fewest workers allowed."""
    trained = shape.parameters if config.method == "full" else shape.adapters(config.lora.rank)
    frozen = 0 if config.method == "full" else shape.parameters
    states = model_states(
        trained, shape.largest_layer if stage == 3 else 0, config.workers.count, stage,
        optimizer=config.offload_optimizer and stage > 0, weights=config.offload_parameters and stage == 3,
    )  # fmt: skip
    width = 2 if config.precision == "bf16" else 4
    held = width * frozen // (config.workers.count if stage == 3 else 1)
    return Need(states.device + held + activations(shape, config), states.host)


def memory_line(settings: Mapping[str, Any], config: TrainingConfig) -> str | None:
    """What a plan says of memory: the need of the chosen ZeRO stage, and of the others; None for unknown shapes.

    Args:
        settings: the model's ``config.json``.
        config: the training section.
    """
    shape = Shape.of_config(settings)
    if shape is None:
        return None
    by_stage = {stage: need(shape, config, stage) for stage in range(4)}
    chosen = by_stage[config.zero_stage]
    others = ", ".join(
        f"{stage}: {n.device / 1e9:.1f} GB" for stage, n in by_stage.items() if stage != config.zero_stage
    )
    return (
        f"training of {shape.parameters / 1e9:.2f} B parameters needs about {chosen.device / 1e9:.1f} GB per "
        f"{'GPU' if config.use_gpu else 'worker'} and {chosen.host / 1e9:.1f} GB of host memory per worker under ZeRO "
        f"{config.zero_stage} with {config.workers.count} workers (ZeRO {others})"
    )
