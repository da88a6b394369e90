"""The training step without Ray, under torchrun: the same model, engine, step and blocks, packed beforehand.

Usage: torchrun --nproc-per-node N -m bench.bare_train SPEC.json. The specification names the training section, the
base model's directory, files with the blocks (arrays ids, positions, labels of shape (blocks, seq_len)), and where
rank 0 writes its trace.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.gpu_use import idle_share
from training.config import TrainingConfig
from training.data.packing import IGNORED
from training.recipe import next_token_loss
from training.worker.attention import layout_of
from training.worker.deepspeed_config import learning_rate
from training.worker.engine import make_engine
from training.worker.step import Rows, Stepper, targets_of


def load(file: str) -> Rows:
    """Blocks as :func:`save` wrote them."""
    arrays = np.load(file)
    return Rows(arrays["ids"], arrays["positions"], arrays["labels"])


def save(rows: Rows, file: Path) -> None:
    """Write blocks for :func:`load`."""
    np.savez(file, ids=rows.ids, positions=rows.positions, labels=rows.labels)


def part(rows: Rows, begin: int, end: int) -> Rows:
    """Blocks ``begin`` to ``end``."""
    return Rows(rows.ids[begin:end], rows.positions[begin:end], rows.labels[begin:end])


def main(spec: dict[str, Any]) -> None:
    """Train ``spec["steps"]`` steps and write the trace."""
    import torch

    started = time.time()
    config, rank = TrainingConfig.model_validate(spec["config"]), int(os.environ["RANK"])
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if config.use_gpu else torch.device("cpu")
    if config.use_gpu:
        torch.cuda.set_device(device)
    engine, model = make_engine(spec["directory"], config, device, rank)
    stepper = Stepper(engine, next_token_loss, config.micro_batch_size, device, layout_of(model, config))
    blocks, size, mine = load(spec["blocks"]), config.blocks_per_step, config.blocks_per_rank(config.num_workers)
    trace: list[dict[str, Any]] = []

    def one_step(step: int) -> tuple[Rows, int, float, float]:
        whole = part(blocks, step * size, (step + 1) * size)
        targets = targets_of(whole.labels)
        rows = part(whole, rank * mine, (rank + 1) * mine)
        return whole, targets, *stepper.step(rows, targets, learning_rate(step, spec["steps"], config))

    for step in range(spec["steps"]):
        clock = time.monotonic()
        whole, targets, loss, norm = one_step(step)
        # A document's first token is given and so no target, but it counts as a token; padding counts as neither.
        starts = int(np.count_nonzero((whole.labels == IGNORED) & (whole.positions == 0)))
        entry = {"step": step + 1, "loss": loss, "grad_norm": norm, "tokens": targets + starts}
        trace.append(entry | {"seconds": time.monotonic() - clock})
    summed, targets = stepper.measure(load(spec["validation"])) if "validation" in spec else (0.0, 1)
    if rank == 0:
        memory = torch.cuda.max_memory_allocated(device) if config.use_gpu else 0
        outcome = {"trace": trace, "validation_loss": summed / targets, "started": started, "memory_bytes": memory}
        if config.use_gpu and spec.get("profiled_steps"):  # one process alone profiles: others would wait for it
            outcome["gpu_idle_share"] = idle_share(lambda: [one_step(step) for step in range(spec["profiled_steps"])])
        Path(spec["out"]).write_text(json.dumps(outcome))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
