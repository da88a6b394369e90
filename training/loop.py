"""The training function that every Ray Train worker runs: DeepSpeed over the blocks that the feeder deals out."""

import contextlib
import math
import os
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from handoff.artifact import Artifact
from handoff.crash_points import ENVIRONMENT_VARIABLE, crash_point
from handoff.model_files import model_directory
from training import checkpoint, export
from training.attention import one_row
from training.config import TrainingConfig
from training.deepspeed_config import learning_rate
from training.engine import make_engine
from training.ingest import BlockFeeder, Deal, Passages, Share
from training.step import LossFunction, Stepper, next_token_loss


@dataclass(frozen=True)
class Plan:
    """All that a worker needs to know.

    Args:
        config: the training section.
        base: model artifact to start from.
        passages: the train split.
        total_steps: optimizer steps.
        board: actor handle of :class:`training.board.Board`.
        loss: sums the loss of a micro-batch.
        crash_at: crash point of a test, from the driver's environment.
    """

    config: TrainingConfig
    base: Artifact
    passages: Passages
    total_steps: int
    board: Any
    loss: LossFunction = next_token_loss
    crash_at: str = ""


class Diverged(Exception):
    """The loss is not a number; every rank sees the same one."""


def train_worker(settings: dict[str, Any]) -> None:
    """Body of a worker; ``settings["plan"]`` is a :class:`Plan`."""
    import ray
    import ray.train

    plan: Plan = settings["plan"]
    os.environ[ENVIRONMENT_VARIABLE] = plan.crash_at
    resumed_from = ray.train.get_checkpoint()
    with contextlib.ExitStack() as opened:
        kept = Path(opened.enter_context(resumed_from.as_directory())) if resumed_from else None
        if kept and (kept / checkpoint.EXPORT).is_dir():
            return  # all done but for publishing
        trainer = Trainer(plan, kept)
        opened.close()
    try:
        trainer.run()
    except Diverged as stop:
        # The same data would give the same loss again: end without a retry, the driver raises.
        if trainer.rank == 0:
            ray.get(plan.board.diverged.remote(str(stop)))


class Trainer:
    """One rank's model, engine and place in the data.

    Args:
        plan: what to train.
        kept: directory of the checkpoint to resume from.
    """

    def __init__(self, plan: Plan, kept: Path | None) -> None:
        import ray
        import ray.train.torch
        from ray.train.collective import barrier, broadcast_from_rank_zero

        context = ray.train.get_context()
        self.plan, self.config = plan, plan.config
        self.rank, self.world_size = context.get_world_rank(), context.get_world_size()
        self.device = ray.train.torch.get_device()
        self.first_attempt = kept is None
        self.progress = checkpoint.Progress()
        if kept:
            checkpoint.verify(kept, self.rank)
            barrier()  # a rank whose files were changed has raised: nobody loads anything
            left = checkpoint.progress_of(kept, self.rank)
            self.progress = replace(left, restarts=left.restarts + 1)
        # Before the model is loaded, so that the first blocks are ready when it is.
        self.feeder = broadcast_from_rank_zero(self._start_feeder() if self.rank == 0 else None)
        self._ahead = self.feeder.share.remote(self.progress.step, self.rank)
        self._load(kept)
        if self.rank == 0:
            plan.board.started.remote(self.progress.step)

    def _start_feeder(self) -> Any:
        import ray

        # DEFAULT: outside of the workers' placement group. Owned by this process, so it ends with the attempt.
        actor = ray.remote(num_cpus=0, scheduling_strategy="DEFAULT")(BlockFeeder)
        config = self.config
        deal = Deal(config.seq_len, config.epochs, self.world_size, config.blocks_per_rank, config.packing == "padded")
        return actor.remote(self.plan.passages, deal, self.progress.step, self.progress.cursor)

    def _load(self, kept: Path | None) -> None:
        self.base_directory = model_directory(self.plan.base)
        self.engine, self.model = make_engine(self.base_directory, self.config, self.device, self.rank)
        self.stepper = Stepper(
            self.engine, self.plan.loss, self.config.micro_batch_size, self.device, one_row(self.model)
        )
        if kept:
            checkpoint.restore(kept, self.engine, self.rank, adapters_only=self.config.method == "lora")

    def _sizes(self) -> dict[str, Any]:
        sizes = [(getattr(p, "ds_numel", p.numel()), p.requires_grad) for p in self.model.parameters()]
        return {
            "trainable_parameters": sum(n for n, trained in sizes if trained),
            "world_size": self.world_size,
            "device": self._device_name(),
        }

    def _device_name(self) -> str:
        import torch

        return torch.cuda.get_device_name(self.device) if self.config.use_gpu else "CPU"

    def run(self) -> None:
        """Train to the last step, then export.

        Raises:
            Diverged: the loss is not a number.
        """
        import ray

        trace = list(self.progress.trace)
        tokens = trace[-1]["tokens"] if trace else 0
        started = time.monotonic() - (trace[-1]["seconds"] if trace else 0.0)
        for step in range(self.progress.step, self.plan.total_steps):
            clock = time.monotonic()
            share: Share = ray.get(self._ahead)
            if step + 1 < self.plan.total_steps:
                self._ahead = self.feeder.share.remote(step + 1, self.rank)
            rate = learning_rate(step, self.plan.total_steps, self.config)
            loss, norm = self.stepper.step(share.rows, share.step_targets, rate)
            if self.first_attempt:
                crash_point(f"train.step{step + 1}.rank{self.rank}")
            if not math.isfinite(loss):
                raise Diverged(f"the loss is {loss} at step {step + 1} of {self.plan.total_steps}")
            tokens += share.step_tokens
            trace.append(
                {
                    "step": step + 1,
                    "loss": loss,
                    "learning_rate": rate,
                    "tokens": tokens,
                    "blocks": share.cursor.blocks,
                    "tokens_per_second": share.step_tokens / (time.monotonic() - clock),
                    "grad_norm": norm,
                    "seconds": time.monotonic() - started,
                }
            )
            self.progress = replace(self.progress, step=step + 1, cursor=share.cursor, trace=tuple(trace))
            if self.rank == 0:
                self.plan.board.stepped.remote(trace[-1])
            if (step + 1) % self.config.checkpoint_every_steps == 0 and step + 1 < self.plan.total_steps:
                self._checkpoint()
        self._export()

    def _checkpoint(self) -> None:
        import ray.train

        with tempfile.TemporaryDirectory() as scratch:
            checkpoint.save(
                Path(scratch), self.engine, self.rank, self.progress, adapters_only=self.config.method == "lora"
            )
            ray.train.report({"step": self.progress.step}, checkpoint=ray.train.Checkpoint.from_directory(scratch))
        if self.rank == 0:
            self.plan.board.saved.remote(self.progress.step)

    def _export(self) -> None:
        import ray.train

        weights = export.gather(
            self.model, self.rank, zero_stage=self.config.zero_stage, trainable_only=self.config.method == "lora"
        )
        if self.rank != 0:
            ray.train.report({"step": self.progress.step})
            return
        with tempfile.TemporaryDirectory() as scratch:
            directory = Path(scratch)
            export.save_model(weights, self.model, self.base_directory, directory / checkpoint.EXPORT, self.config)
            checkpoint.write_trace(directory, self.progress, self._sizes())
            ray.train.report({"step": self.progress.step}, checkpoint=ray.train.Checkpoint.from_directory(scratch))
