"""A model in a DeepSpeed engine, ready to train; under any launcher that has set torch.distributed's variables."""

import os
from typing import Any

from training.config import TrainingConfig
from training.worker.attention import check_boundaries, check_causal, check_positions
from training.worker.deepspeed_config import deepspeed_config, make_optimizer
from training.worker.model import import_deepspeed, load_model


def make_engine(
    directory: str,
    config: TrainingConfig,
    device: Any,
    rank: int,
    *,
    model_class: Any = None,
    repartitioned: bool = False,
) -> tuple[Any, Any]:
    """Load a base model and put it into an engine; every rank calls it.

    Args:
        directory: a Hugging Face directory.
        config: the training section.
        device: this rank's torch device.
        rank: world rank.
        model_class: see :class:`training.recipe.Recipe`.
        repartitioned: it will load a universal checkpoint, see :mod:`training.checkpoints.repartition`.

    Returns:
        The engine, and the model inside.

    Raises:
        SourceError: the files are not the model's, or its tokens see those after them.
        ConfigError: the model cannot keep documents of a block apart; the class has other parameters than the base.
    """
    if not config.use_gpu:
        os.environ["DS_ACCELERATOR"] = "cpu"  # right before the import that reads it
    import_deepspeed()
    import deepspeed
    import torch

    torch.set_num_threads(max(1, int(config.cpus_per_worker)))
    # On CPU DeepSpeed would compile a shared-memory all-reduce here: it needs a C++ compiler, and after a kill in
    # mid-build every later worker waits for ever on the lock that torch's extension builder left behind.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_backend="nccl" if config.use_gpu else "gloo")
    world_size = torch.distributed.get_world_size()
    torch.manual_seed(config.seed)  # the same adapters on every rank
    model = load_model(directory, config, world_size, model_class)
    engine, *_ = deepspeed.initialize(
        model=model,
        optimizer=make_optimizer(model, config),
        config=deepspeed_config(config, world_size, repartitioned=repartitioned),
        dist_init_required=False,
    )
    if config.zero_stage == 0 and config.precision == "bf16":
        _undo_first_step(engine.optimizer)
    if config.packing == "packed":
        check_positions(engine, model, config, device)
    if config.torch_compile:
        engine.compile()
    check_causal(engine, model, config, device)
    if config.packing == "packed":
        check_boundaries(engine, model, config, device)
    torch.manual_seed(config.seed + rank)  # other dropout on every rank
    return engine, model


def _undo_first_step(optimizer: Any) -> None:
    """Take back the step without gradients by which DeepSpeed 0.19 makes the optimizer's state in bf16 without ZeRO.

    It counts as Adam's first one, and its weight decay changes the weights. With ZeRO the first real step makes the state.
    """
    optimizer.optimizer.state.clear()
    optimizer.refresh_fp32_params()
