"""Load a checkpoint with another number of workers: ZeRO's shards are merged into DeepSpeed's universal checkpoint.

DeepSpeed's own format is taken because it covers ZeRO 1 to 3, adapters and bf16, and is kept up with its engine. It is
made only when the number of workers changes, from the shards that are there, so that no checkpoint costs more than
before. Adam's moments and the fp32 weights come back exactly; sums over ranks are then taken in another order.
"""

import argparse
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training.checkpoints import checkpoint
from training.config import TrainingConfig


def is_sharded(config: TrainingConfig) -> bool:
    """Whether the optimizer's state is sharded over ranks; otherwise each rank has all of it, and rank 0 saves it."""
    return config.zero_stage > 0


def load_of_other_group(directory: Path, engine: Any, config: TrainingConfig) -> None:
    """Load model and optimizer from a checkpoint of another number of workers; every rank calls it.

    Args:
        directory: the checkpoint on this machine; its digests were compared.
        engine: made for a repartitioned checkpoint, where :func:`is_sharded`.
        config: the training section.
    """
    with repartitioned(directory) if is_sharded(config) else contextlib.nullcontext(directory) as whole:
        _load(whole, engine, adapters_only=config.method == "lora")


@contextlib.contextmanager
def repartitioned(directory: Path) -> Iterator[Path]:
    """Convert a checkpoint, once on each machine; every rank calls it.

    Yields:
        A directory that takes the room of the checkpoint's engine part, gone afterwards.
    """
    import ray.train
    import torch.distributed

    context = ray.train.get_context()
    mine = None
    if context.get_local_rank() == 0:
        mine = tempfile.mkdtemp(prefix="baton-repartition-")
        convert(directory / checkpoint.TAG, Path(mine, checkpoint.TAG))
    made: list[tuple[int, str | None]] = [(0, None)] * context.get_world_size()
    torch.distributed.all_gather_object(made, (context.get_node_rank(), mine))
    try:
        yield Path(next(path for node, path in made if path and node == context.get_node_rank()))
        torch.distributed.barrier()
    finally:
        if mine:
            shutil.rmtree(mine)


def convert(shards: Path, whole: Path) -> None:
    """Write the universal form of a directory of DeepSpeed's shards."""
    from deepspeed.checkpoint.ds_to_universal import main

    # In this process: workers would be forked from a process with threads. Only Megatron writes the missing state.
    with contextlib.redirect_stdout(None):
        main(
            argparse.Namespace(
                input_folder=str(shards), output_folder=str(whole), num_extract_workers=1, num_merge_workers=1,
                keep_temp_folder=False, strict=True, inject_missing_state=True,
            )
        )  # fmt: skip


def _load(directory: Path, engine: Any, *, adapters_only: bool) -> None:
    """Load model and optimizer, and correct two faults of DeepSpeed 0.19.

    Under ZeRO 3 it gives every parameter group the settings of the first one (so weight decay on norms), and all of
    them one step counter, which then runs as many times too fast as there are groups.
    """
    import torch

    groups = engine.optimizer.param_groups
    settings = [{k: v for k, v in group.items() if k != "params"} for group in groups]
    checkpoint.load(directory, engine, adapters_only=adapters_only)
    for group, kept in zip(engine.optimizer.param_groups, settings, strict=True):
        group.update(kept)
    inner = getattr(engine.optimizer, "optimizer", engine.optimizer)
    for state in inner.state.values():
        if torch.is_tensor(state.get("step")):
            state["step"] = state["step"].clone()
