"""The training that every launcher starts: the project's own engine and step on blocks that lie in a file.

Under torchrun: ``python -m torch.distributed.run … -m comparison.stages.shared.steps SPEC.json``. Rank 0 writes the output: the loss of
each step, and all weights, in rows of ``name``, ``step`` (-1 for weights) and ``values``.
"""

import json
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from comparison.stages.shared.keepers import Keeper, SharedDirectory
from comparison.stages.shared.model import load_blocks
from training.checkpoints import checkpoint
from training.config import BaseModelConfig, TrainingConfig
from training.recipe import next_token_loss
from training.worker.attention import layout_of
from training.worker.deepspeed_config import learning_rate
from training.worker.engine import make_engine
from training.worker.step import Rows, Stepper, targets_of

WORKERS, SEQ_LEN, BLOCKS_PER_WORKER = 2, 128, 4
OUTPUT = pa.schema([("name", pa.string()), ("step", pa.int32()), ("values", pa.list_(pa.float32()))])


@dataclass(frozen=True)
class Training:
    """One training, as it travels to its workers.

    Attributes:
        model: directory to start from.
        blocks: file of :func:`comparison.stages.shared.model.save_blocks`.
        output: directory for the result.
        notes: directory for what a form asks about afterwards: :func:`note` and :func:`noted`.
        steps: optimizer steps, each over ``WORKERS * BLOCKS_PER_WORKER`` blocks.
        checkpoints: directory for checkpoints where the launcher keeps none itself; empty: none are written.
        every: steps between checkpoints.
        kill_at: step after which rank 1 kills itself once; 0: never.
    """

    model: str
    blocks: str
    output: str
    notes: str
    steps: int
    checkpoints: str = ""
    every: int = 5
    kill_at: int = 0

    def save(self, file: Path) -> None:
        """Write it for ``python -m comparison.stages.shared.steps``."""
        file.write_text(json.dumps(asdict(self)))


def settings(model: str) -> TrainingConfig:
    """All weights in fp32 with ZeRO 2, each of two workers on a core."""
    return TrainingConfig(
        base=BaseModelConfig(source=model), method="full", zero_stage=2, num_workers=WORKERS, seq_len=SEQ_LEN,
        micro_batch_size=BLOCKS_PER_WORKER, learning_rate=1e-3,
    )  # fmt: skip


def train(training: Training, keeper: Keeper | None = None) -> None:
    """Body of a worker, under any launcher that has set torch.distributed's variables."""
    import torch
    import torch.distributed

    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    notes, resumed = Path(training.notes), noted(training, "killed") is not None
    if training.checkpoints:
        keeper = SharedDirectory(training.checkpoints)
    config, device = settings(training.model), torch.device("cpu")
    engine, model = make_engine(training.model, config, device, int(os.environ.get("RANK", 0)))
    rank = torch.distributed.get_rank()
    stepper = Stepper(engine, next_token_loss, config.micro_batch_size, device, layout_of(model, config))
    losses = _restored(engine, keeper)
    if rank == 0:
        note(training, f"attempt-{len(list(notes.glob('attempt-*')))}", len(losses))
    blocks, size = load_blocks(training.blocks), config.blocks_per_step
    begun = time.monotonic()
    for step in range(len(losses), training.steps):
        whole = _part(blocks, step * size, size)
        mine = _part(whole, rank * BLOCKS_PER_WORKER, BLOCKS_PER_WORKER)
        loss, _ = stepper.step(mine, targets_of(whole.labels), learning_rate(step, training.steps, config))
        losses.append(loss)
        if step + 1 == training.kill_at:
            if resumed and rank == 0:
                note(training, "back", time.monotonic())
            elif not resumed and rank == 1:
                note(training, "killed", time.monotonic())
                os.kill(os.getpid(), signal.SIGKILL)
        if keeper and (step + 1) % training.every == 0:
            keeper.keep(step + 1, lambda place: _save(place, engine, losses))
    if rank == 0:
        note(training, "stepping", time.monotonic() - begun)
        _write(training, model, losses)
    torch.distributed.barrier()


def _part(rows: Rows, first: int, count: int) -> Rows:
    """``count`` blocks from ``first`` on."""
    return Rows(*(values[first : first + count] for values in (rows.ids, rows.positions, rows.labels)))


def _save(place: Path, engine: Any, losses: list[float]) -> None:
    engine.save_checkpoint(str(place), tag=checkpoint.TAG, save_latest=False)
    if engine.global_rank == 0:
        (place / "losses.json").write_text(json.dumps(losses))


def _restored(engine: Any, keeper: Keeper | None) -> list[float]:
    """Losses of the steps that the newest checkpoint has, whose state is loaded; none without one."""
    if keeper is None:
        return []
    with keeper.newest() as place:
        if place is None:
            return []
        checkpoint.load(place, engine, adapters_only=False)
        return json.loads((place / "losses.json").read_text())


def _write(training: Training, model: Any, losses: list[float]) -> None:
    rows: list[dict[str, Any]] = [{"name": "loss", "step": n, "values": [loss]} for n, loss in enumerate(losses)]
    weights = model.state_dict()
    rows += [{"name": name, "step": -1, "values": weights[name].flatten().numpy()} for name in sorted(weights)]
    Path(training.output).mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=OUTPUT), f"{training.output}/part-00000.parquet")


def note(training: Training, name: str, value: float) -> None:
    """Leave a number for the form that started the training."""
    Path(training.notes, name).write_text(str(value))


def noted(training: Training, name: str) -> float | None:
    """A number that a worker left; None where none did."""
    file = Path(training.notes, name)
    return float(file.read_text()) if file.exists() else None


if __name__ == "__main__":
    train(Training(**json.loads(Path(sys.argv[1]).read_text())))
