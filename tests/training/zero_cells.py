"""Training steps of every way that a step can be made, beside a plain torch loop; run by two ranks of test_zero_cells.

``python -m tests.training.zero_cells MODEL OUT CELL…`` trains some steps in each cell, such as ``0-bf16-lora-4``, with the project's
engine and stepper. Rank 0 writes for each cell what it saw beside what the plain loop computes on all rows at once.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from training.config import BaseModelConfig, LoraConfig, TrainingConfig
from training.data.ingest import rows_of
from training.data.packing import Passage, pack
from training.recipe import next_token_loss
from training.worker.deepspeed_config import learning_rate, make_optimizer
from training.worker.engine import make_engine
from training.worker.model import load_model
from training.worker.step import Layout, Rows, Stepper, micro_batches, targets_of

STEPS, SEQ_LEN, WORKERS = 3, 32, 2


def config_of(cell: str, model: str) -> TrainingConfig:
    """The training section of a cell ``ZERO-PRECISION-METHOD-ACCUMULATION``."""
    zero, precision, method, accumulation = cell.split("-")
    return TrainingConfig.model_validate(
        {
            "base": BaseModelConfig(source=model), "zero_stage": int(zero), "precision": precision, "method": method,
            "lora": LoraConfig(rank=4), "seq_len": SEQ_LEN, "num_workers": WORKERS, "learning_rate": 3e-3,
            "global_batch_tokens": SEQ_LEN * WORKERS * int(accumulation), "gradient_clipping": 0.5, "weight_decay": 0.1,
        }
    )  # fmt: skip


def rows_of_steps(config: TrainingConfig) -> Rows:
    """Blocks for all steps: documents of 5 to 40 tokens, the same in every cell of an accumulation."""
    rng = np.random.default_rng(0)
    count = STEPS * config.blocks_per_step
    passages = (Passage(rng.integers(1, 384, rng.integers(5, 40)).astype(np.int32)) for _ in range(3 * count))
    blocks = list(pack(passages, SEQ_LEN, 0))[:count]
    return rows_of(blocks, count, SEQ_LEN)


def part(rows: Rows, begin: int, end: int) -> Rows:
    return Rows(rows.ids[begin:end], rows.positions[begin:end], rows.labels[begin:end])


def plain(config: TrainingConfig, start: dict[str, Any], rows: Rows) -> dict[str, Any]:
    """The same steps by torch alone: fp32 weights, a forward pass over all rows of a step, AdamW.

    Args:
        config: the cell's.
        start: the trainable weights before the first step, by name.
        rows: of all steps.
    """
    import torch

    model = load_model(config.base.source, config.model_copy(update={"zero_stage": 0}), 1)
    if config.precision == "bf16":  # adapters too; buffers, such as the frequencies of the positions, stay fp32
        for parameter in model.parameters():
            parameter.data = parameter.data.bfloat16()
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert trained.keys() == start.keys()
    master = torch.nn.ParameterDict({n.replace(".", "/"): start[n].clone() for n in trained})
    optimizer = make_optimizer(master, config)
    told: dict[str, Any] = {"loss": [], "norm": []}
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, STEPS, config)
        with torch.no_grad():
            for name, parameter in trained.items():
                parameter.copy_(master[name.replace(".", "/")])
        size = config.blocks_per_step
        mine = part(rows, step * size, (step + 1) * size)
        targets, summed = targets_of(mine.labels), 0.0
        gradients = {n: torch.zeros_like(p, dtype=torch.float32) for n, p in trained.items()}
        for batch in micro_batches(mine, 1, "cpu", Layout()):
            loss = next_token_loss(model, batch)
            model.zero_grad()
            (loss / targets).backward()
            for name, parameter in trained.items():
                gradients[name] += parameter.grad.float()
            summed += float(loss)
        for name in trained:
            master[name.replace(".", "/")].grad = gradients[name]
        norm = torch.nn.utils.clip_grad_norm_(master.parameters(), config.gradient_clipping)
        optimizer.step()
        told["loss"].append(summed / targets)
        told["norm"].append(float(norm))
    told["weights"] = {n: master[n.replace(".", "/")].detach() for n in trained}
    return told


def weights_of(engine: Any, module: Any, config: TrainingConfig) -> dict[str, Any]:
    """The trainable weights in fp32, as the optimizer has them, by name."""
    from deepspeed.utils import safe_get_full_fp32_param

    trained = {n: p for n, p in module.named_parameters() if p.requires_grad}
    if config.zero_stage == 0 and config.precision == "fp32":
        return {n: p.detach().clone() for n, p in trained.items()}
    if config.zero_stage == 0:
        groups = zip(engine.optimizer.fp16_groups, engine.optimizer.fp32_groups, strict=True)
        of = {id(half): whole for halves, wholes in groups for half, whole in zip(halves, wholes, strict=True)}
        return {n: of[id(p)].detach().clone() for n, p in trained.items()}
    return {n: safe_get_full_fp32_param(p).clone() for n, p in trained.items()}


def run(cell: str, model: str, rank: int) -> dict[str, Any]:
    """What a cell did and what the plain loop does, on rank 0."""
    import torch

    config = config_of(cell, model)
    rows = rows_of_steps(config)
    engine, module = make_engine(model, config, torch.device("cpu"), rank)
    stepper = Stepper(engine, next_token_loss, config.micro_batch_size, torch.device("cpu"))
    start = weights_of(engine, module, config)
    rates, losses, norms = [], [], []
    size, mine = config.blocks_per_step, config.blocks_per_rank(WORKERS)
    for step in range(STEPS):
        whole = part(rows, step * size, (step + 1) * size)
        rate = learning_rate(step, STEPS, config)
        loss, norm = stepper.step(part(whole, rank * mine, (rank + 1) * mine), targets_of(whole.labels), rate)
        losses.append(loss), norms.append(norm), rates.append(engine.get_lr())
    end = weights_of(engine, module, config)
    engine.destroy()
    if rank:
        return {}
    expected = plain(config, start, rows)

    def distance(one: dict[str, Any], other: dict[str, Any]) -> float:
        return sum(float((one[n] - other[n]).square().sum()) for n in start) ** 0.5

    return {
        "loss": losses, "norm": norms, "rate": rates, "expected_loss": expected["loss"], "expected_norm": expected["norm"],
        "expected_rate": [learning_rate(step, STEPS, config) for step in range(STEPS)],
        "weights_apart": distance(expected["weights"], end) / distance(expected["weights"], start),
    }  # fmt: skip


def main(model: str, out: str, *cells: str) -> None:
    rank = int(os.environ["RANK"])
    found = {cell: run(cell, model, rank) for cell in cells}
    if rank == 0:
        Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
