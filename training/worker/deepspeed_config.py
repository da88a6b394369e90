"""DeepSpeed's configuration, the optimizer's parameter groups and the learning rate, from ours."""

import math
from collections.abc import Iterable
from typing import Any

from training.config import TrainingConfig

NEVER = 2**31 - 1  # steps between DeepSpeed's own log lines


def deepspeed_config(config: TrainingConfig, world_size: int, *, repartitioned: bool = False) -> dict[str, Any]:
    """What ``deepspeed.initialize`` is given.

    Args:
        config: the training section.
        world_size: workers there are.
        repartitioned: the checkpoint that will be loaded is a universal one, see :mod:`training.checkpoints.repartition`.

    The optimizer is torch's AdamW (fused on a GPU), so that nothing is compiled: DeepSpeed's own CPUAdam and
    FusedAdam build C++ or CUDA code first (90 s for CPUAdam on 2 cores). Only on a GPU with offloaded
    optimizer state is CPUAdam worth that, and chosen.
    """
    zero: dict[str, Any] = {"stage": config.zero_stage, "overlap_comm": config.use_gpu}
    if config.offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": config.use_gpu}
    if config.offload_parameters:
        zero["offload_param"] = {"device": "cpu", "pin_memory": config.use_gpu}
    return {
        "train_batch_size": config.blocks_per_rank(world_size) * world_size,
        "train_micro_batch_size_per_gpu": config.micro_batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation(world_size),
        "gradient_clipping": config.gradient_clipping,
        "bf16": {"enabled": config.precision == "bf16"},
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": NEVER,
        "checkpoint": {"load_universal": repartitioned},
    }


def make_optimizer(model: Any, config: TrainingConfig) -> Any:
    """AdamW over the trainable parameters of a torch model, without weight decay on biases and norms."""
    groups = [g for g in parameter_groups(model.named_parameters(), config.weight_decay) if g["params"]]
    if config.use_gpu and config.offload_optimizer:
        from deepspeed.ops.adam import DeepSpeedCPUAdam

        return DeepSpeedCPUAdam(groups, lr=config.learning_rate)
    from torch.optim import AdamW

    return AdamW(groups, lr=config.learning_rate, fused=config.use_gpu)


def parameter_groups(parameters: Iterable[tuple[str, Any]], weight_decay: float) -> list[dict[str, Any]]:
    """Trainable matrices with weight decay, and vectors (biases, norms) without.

    Under ZeRO 3 a parameter is a flat shard; its own shape is then in ``ds_shape``.
    """
    decayed: list[Any] = []
    plain: list[Any] = []
    for _, parameter in parameters:
        if parameter.requires_grad:
            (decayed if len(getattr(parameter, "ds_shape", parameter.shape)) > 1 else plain).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def learning_rate(step: int, total_steps: int, config: TrainingConfig) -> float:
    """Learning rate of 0-based ``step``: a pure function, so that a resume needs no scheduler state.

    Rises linearly over the warm-up to the peak, then stays, or falls to zero by a line or half a cosine
    (Loshchilov & Hutter, 2017, without restarts).
    """
    warmup = round(config.warmup_fraction * total_steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(total_steps - warmup, 1)
    if config.schedule == "linear":
        return config.learning_rate * (1 - done)
    if config.schedule == "cosine":
        return config.learning_rate * (1 + math.cos(math.pi * done)) / 2
    return config.learning_rate
