"""What a training needs before it starts: memory by ZeRO stage, the size of a checkpoint, and time where it can be told.

Parameters are counted on the model's class on the meta device, by name and shape. A formula over ``config.json`` knows one
family's layers: it took Mixtral 8x7B for 7.24 of its 46.7 billion parameters.

Model states are counted as DeepSpeed's own estimators count them (``estimate_zero2_model_states_mem_needs`` and
``estimate_zero3_...``; a test compares), which assume mixed precision: per trained parameter 2 bytes of weights, 2 and 4 of gradients (stage 3: 4) and
12 of optimizer state (weights in fp32, two moments). Activations are added, which those leave out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from handoff.model_shape import Shape
from training.config import TrainingConfig
from training.counts import Counts

HOST_BUFFERS = 1.5  # DeepSpeed's factor for pinned and temporary buffers
# Bytes per token and hidden unit that a transformer layer keeps for its backward pass (Korthikanti et al., 2022).
LAYER_ACTIVATIONS = 34
UTILISATION = 0.4  # of a card's peak, as well-tuned trainings of dense models reach (Chowdhery et al. 2022: 46 %)
BYTES_PER_TOKEN = 4.0  # of English text, by tokenizers of today's vocabularies
# bf16 without sparsity, from NVIDIA's data sheets, by the type that Ray gives the node.
PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "A10G": 70e12, "L4": 121e12}
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


def need(counts: Counts, shape: Shape, config: TrainingConfig, stage: int) -> Need:
    """What a worker needs under a ZeRO stage, with the offloading that is asked for and the fewest workers allowed."""
    frozen = counts.parameters - counts.trained if counts.adapters else 0
    states = model_states(
        counts.trained, counts.largest_module if stage == 3 else 0, config.workers.count, stage,
        optimizer=config.offload_optimizer and stage > 0, weights=config.offload_parameters and stage == 3,
    )  # fmt: skip
    width = 2 if config.precision == "bf16" else 4
    held = width * frozen // (config.workers.count if stage == 3 else 1)
    return Need(states.device + held + activations(shape, config), states.host)


def checkpoint_bytes(counts: Counts, config: TrainingConfig) -> int:
    """Size of one checkpoint over all workers: the trained weights, their fp32 copy where they are in bf16, two moments."""
    each = 2 + 4 + 8 if config.precision == "bf16" else 4 + 8
    return each * counts.trained


def memory_line(settings: Mapping[str, Any], counts: Counts | None, config: TrainingConfig) -> str | None:
    """What a plan says of memory: the need of the chosen ZeRO stage, and of the others; and of a checkpoint's size.

    None where ``config.json`` has no sizes in the usual words, or the model could not be counted.

    Args:
        settings: the model's ``config.json``.
        counts: of the model's parameters.
        config: the training section.
    """
    shape = Shape.of_config(settings)
    if shape is None or counts is None:
        return None
    by_stage = {stage: need(counts, shape, config, stage) for stage in range(4)}
    chosen = by_stage[config.zero_stage]
    others = ", ".join(
        f"{stage}: {n.device / 1e9:.1f} GB" for stage, n in by_stage.items() if stage != config.zero_stage
    )
    active = f", {counts.active / 1e9:.2f} B of them active" if counts.active < counts.parameters else ""
    return (
        f"training of {counts.parameters / 1e9:.2f} B parameters{active} needs about {chosen.device / 1e9:.1f} GB per "
        f"{'GPU' if config.use_gpu else 'worker'} and {chosen.host / 1e9:.1f} GB of host memory per worker under ZeRO "
        f"{config.zero_stage} with {config.workers.count} workers (ZeRO {others}); a checkpoint has "
        f"{checkpoint_bytes(counts, config) / 1e9:.2f} GB, {config.checkpoints_kept} are kept"
    )


def training_seconds(
    counts: Counts, config: TrainingConfig, raw_bytes: int, nodes: Sequence[Mapping[str, float]]
) -> float | None:
    """About how long a training on GPUs takes; None on CPUs and on GPUs whose speed is not known.

    Six floating-point operations per active parameter and token (Kaplan et al. 2020), eight with recomputed activations, at
    ``UTILISATION`` of the cards' peak.

    Args:
        raw_bytes: of raw text, from which the tokens of an epoch follow at ``BYTES_PER_TOKEN``.
        nodes: each node's resources, as Ray names them.
    """
    kinds = {name.split(":")[1] for node in nodes for name in node if name.startswith("accelerator_type:")}
    speeds = [PEAK_FLOPS[kind] for kind in kinds if kind in PEAK_FLOPS]
    if not config.use_gpu or not speeds or len(speeds) < len(kinds):
        return None
    tokens = config.epochs * raw_bytes / BYTES_PER_TOKEN
    if config.max_steps:
        tokens = min(tokens, config.max_steps * config.tokens_per_step)
    operations = (8 if config.activation_checkpointing else 6) * counts.active * tokens
    return operations / (config.num_workers * min(speeds) * UTILISATION)


@dataclass(frozen=True)
class TaskLimit:
    """How long a task may take: seconds of an attempt, and how many attempts, each going on from the last checkpoint."""

    seconds: float
    attempts: int


def time_line(seconds: float | None, limit: TaskLimit | None) -> str | None:
    """What a plan says of a training's length; a warning where its task would end before it.

    Args:
        seconds: of :func:`training_seconds`.
        limit: of the task, where it is known.
    """
    if seconds is None:
        return None
    hours = seconds / 3600
    told = (
        f"{hours / 24:,.1f} days"
        if hours > 48
        else f"{hours:,.1f} hours"
        if hours > 1
        else f"{seconds / 60:,.0f} minutes"
    )
    line = f"training takes about {told} on GPUs at {UTILISATION:.0%} of their peak (not measured)"
    if limit and seconds > limit.seconds * limit.attempts:
        line += (
            f". WARNING: that is more than the {limit.attempts} attempts of {limit.seconds / 3600:g} hours that its task has. Remedy: "
            "raise TRAIN_TIMEOUT in the DAG file, set training.max_steps, or use more GPUs"
        )
    return line
