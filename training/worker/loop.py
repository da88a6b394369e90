"""The training function that every Ray Train worker runs: DeepSpeed over the blocks that the feeder deals out."""

import math
import os
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from handoff.artifact import Artifact
from handoff.crash_points import ENVIRONMENT_VARIABLE, crash_point
from handoff.errors import BatonError, ConfigError
from handoff.model_files import model_directory
from training.checkpoints import checkpoint
from training.checkpoints.repartition import is_sharded, load_of_other_group
from training.checkpoints.resume import VALIDATION_LOSS, last_whole_checkpoint, whole_checkpoint
from training.checkpoints.scratch import Scratch
from training.config import TrainingConfig
from training.data.ingest import BlockFeeder, Deal, Passages, Share, rows_of
from training.export.check import check_on_every_rank, reference
from training.export.model import gather, save_model
from training.files import checkpoint_upload
from training.recipe import Recipe
from training.worker.attention import layout_of
from training.worker.deepspeed_config import learning_rate
from training.worker.engine import make_engine
from training.worker.memory import OutOfMemory, explain_out_of_memory
from training.worker.meters import Meters
from training.worker.step import Rows, Stepper
from training.worker.validation import best_step, patience_is_over


@dataclass(frozen=True)
class Plan:
    """All that a worker needs to know.

    Args:
        config: the training section.
        base: model artifact to start from.
        passages: the train split.
        validation: the validation split, where it is looked at during training.
        total_steps: most optimizer steps.
        events: actor handle of :class:`training.worker.events.Events`.
        recipe: the loss, and the model's class.
        storage: where the checkpoints go; no two trainings share it.
        crash_at: crash point of a test, from the driver's environment.
    """

    config: TrainingConfig
    base: Artifact
    passages: Passages
    validation: Passages | None
    total_steps: int
    events: Any
    recipe: Recipe
    storage: str
    crash_at: str = ""


class Diverged(ConfigError):
    """The loss or the gradient is not a number."""


def train_worker(settings: dict[str, Any]) -> None:
    """Body of a worker; ``settings["plan"]`` is a :class:`Plan`.

    An error that only the user can fix is reported to the driver, which raises it; training ends without a restart.
    """
    import ray
    import ray.train

    plan: Plan = settings["plan"]
    if (
        ray.get(plan.events.joined.remote(ray.train.get_context().get_world_rank())) == 1
    ):  # crash points apply to the first group only
        os.environ[ENVIRONMENT_VARIABLE] = plan.crash_at
    if ray.get(plan.events.failure.remote()):
        return  # a restart after one rank has failed alone: nothing to do
    try:
        with explain_out_of_memory(plan.config):
            _train(plan)
    except OutOfMemory as error:  # of this rank alone: the others wait for it until the group is ended
        ray.get(plan.events.failed.remote(error))
        raise
    except BatonError as error:  # every rank sees the same
        ray.get(plan.events.failed.remote(error))


def _train(plan: Plan) -> None:
    with last_whole_checkpoint() as (kept, damaged):
        if kept and (kept / checkpoint.EXPORT).is_dir():
            return  # all done but for publishing
        trainer = Trainer(plan, kept, damaged)
    trainer.run()


class Trainer:
    """One rank's model, engine and place in the data.

    Args:
        plan: what to train.
        kept: directory of the checkpoint to resume from.
        damaged: why newer checkpoints were passed over.
    """

    def __init__(self, plan: Plan, kept: Path | None, damaged: list[str]) -> None:
        import ray.train.torch
        import torch
        from ray.train.collective import broadcast_from_rank_zero

        context = ray.train.get_context()
        self.plan, self.config = plan, plan.config
        self.rank, self.world_size = context.get_world_rank(), context.get_world_size()
        self.device = ray.train.torch.get_device()
        self.progress = checkpoint.TrainingProgress()
        if kept:
            left = checkpoint.progress_of(kept, self.rank, self.world_size)
            self.progress = replace(left, restarts=left.restarts + 1)
        self._scratch = Scratch(plan.storage, self.config.hang_seconds)
        if context.get_local_rank() == 0:
            self._scratch.clear()
        # A barrier too. Before the model is loaded, so that the first blocks are ready when it is.
        self.feeder = broadcast_from_rank_zero(self._start_feeder() if self.rank == 0 else None)
        self._ahead = self.feeder.share.remote(self.progress.step, self.rank)
        self.base_directory = model_directory(plan.base)
        moved = kept is not None and checkpoint.world_size_of(kept) != self.world_size
        self.engine, self.model = make_engine(
            self.base_directory,
            self.config,
            self.device,
            self.rank,
            model_class=plan.recipe.model_class,
            repartitioned=moved and is_sharded(self.config),
        )
        self.stepper = Stepper(
            self.engine, plan.recipe.loss, self.config.micro_batch_size, self.device, layout_of(self.model, self.config)
        )
        self.meters = Meters(self.model, self.config, self.device, self.world_size)
        self.validation = self._validation_rows()
        if kept and moved:
            load_of_other_group(kept, self.engine, self.config)
            torch.manual_seed(self.config.seed + 1000 * self.progress.step + self.rank)  # another group, other dropout
        elif kept:
            checkpoint.restore(kept, self.engine, self.rank, adapters_only=self.config.method == "lora")
        self._saved_at = time.monotonic()
        if self.rank == 0:
            plan.events.started.remote(self.progress.step, damaged, self.world_size)

    def _start_feeder(self) -> Any:
        import ray

        # DEFAULT: outside of the workers' placement group. Owned by this process, so it ends with the attempt.
        actor = ray.remote(num_cpus=0, scheduling_strategy="DEFAULT")(BlockFeeder)
        config = self.config
        places = config.blocks_per_rank(self.world_size)
        deal = Deal(config.seq_len, config.epochs, self.world_size, config.blocks_per_step, places, config.padded)
        return actor.remote(self.plan.passages, deal, self.progress.step, self.progress.cursor)

    def _validation_rows(self) -> Rows | None:
        """This rank's part of the first validation blocks; as many rows on each rank."""
        if self.plan.validation is None:
            return None
        config, passages = self.config, self.plan.validation
        first = passages.first_blocks(config.seq_len, config.validation_blocks, padded=config.padded)
        return rows_of(first[self.rank :: self.world_size], -(-len(first) // self.world_size), config.seq_len)

    def run(self) -> None:
        """Train to the last step, or until validation no longer improves; then export.

        Raises:
            Diverged: the loss or the gradient is not a number.
        """
        import ray

        trace, config = list(self.progress.trace), self.config
        tokens = trace[-1]["tokens"] if trace else 0
        started = time.monotonic() - (trace[-1]["seconds"] if trace else 0.0)
        for step in range(self.progress.step, self.plan.total_steps):
            if patience_is_over(trace, config.early_stop_patience):
                break
            clock = time.monotonic()
            share: Share = ray.get(self._ahead, timeout=config.hang_seconds)
            waited = time.monotonic() - clock
            if step + 1 < self.plan.total_steps:
                self._ahead = self.feeder.share.remote(step + 1, self.rank)
            rate = learning_rate(step, self.plan.total_steps, config)
            loss, norm = self.stepper.step(share.rows, share.step_targets, rate)
            crash_point(f"train.step{step + 1}.rank{self.rank}")
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise Diverged(self._diverged(step + 1, loss, norm, share))
            tokens += share.step_tokens
            entry = {
                "step": step + 1,
                "workers": self.world_size,
                "loss": loss,
                "learning_rate": rate,
                "tokens": tokens,
                "blocks": share.cursor.blocks,
                "grad_norm": norm,
                "seconds": time.monotonic() - started,
                **self.meters.of_step(share.step_tokens, time.monotonic() - clock, waited),
            }
            if self.validation and (step + 1) % (config.validate_every_steps or 1) == 0:
                summed, targets = self.stepper.measure(self.validation)
                entry["validation_loss"] = summed / max(targets, 1)
            trace.append(entry)
            audit = (*self.progress.audit, share.blocks)
            self.progress = replace(self.progress, step=step + 1, cursor=share.cursor, trace=tuple(trace), audit=audit)
            if self.rank == 0:
                self.plan.events.stepped.remote(entry)
            if step + 1 < self.plan.total_steps and self._checkpoint_is_due():
                self._checkpoint()
        best = best_step(trace) if config.keep == "best" else None
        if best not in (None, self.progress.step):
            self._take(best)
        self._export(best or self.progress.step)

    def _diverged(self, step: int, loss: float, norm: float, share: Share) -> str:
        what = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient's norm is {norm}"
        return (
            f"{what} at step {step} of {self.plan.total_steps}, blocks {share.step_blocks[0]} to "
            f"{share.step_blocks[-1]} (epoch-index). Remedy: lower training.learning_rate, or raise warmup_fraction"
        )

    def _checkpoint_is_due(self) -> bool:
        """Whether this step is checkpointed: by step number, as the best so far if ``keep`` is best, or by rank 0's clock."""
        step = self.progress.step
        if step % self.config.checkpoint_every_steps == 0:
            return True
        if self.config.keep == "best" and best_step(self.progress.trace) == step:
            return True
        seconds = self.config.checkpoint_every_seconds
        late = seconds is not None and self.rank == 0 and time.monotonic() - self._saved_at >= seconds
        return seconds is not None and self.stepper.over_ranks(float(late)) > 0

    def _checkpoint(self) -> None:
        """Write this rank's shard here; it is uploaded while training goes on."""
        import ray.train

        directory = self._scratch.directory()
        checkpoint.save(
            directory, self.engine, self.rank, self.world_size, self.progress,
            adapters_only=self.config.method == "lora",
        )  # fmt: skip
        crash_point(f"train.checkpoint{self.progress.step}.rank{self.rank}")
        ray.train.report(
            self._reported(),
            checkpoint=ray.train.Checkpoint.from_directory(directory),
            checkpoint_upload_mode=ray.train.CheckpointUploadMode.ASYNC,
            delete_local_checkpoint_after_upload=True,
            checkpoint_upload_fn=checkpoint_upload(),
        )
        crash_point(f"train.uploading{self.progress.step}.rank{self.rank}")
        self._saved_at = time.monotonic()
        if self.rank == 0:
            self.plan.events.saved.remote(self.progress.step)

    def _reported(self) -> dict[str, Any]:
        """Metrics by which Ray Train decides which checkpoints to keep."""
        loss = self.progress.trace[-1].get("validation_loss")
        return {"step": self.progress.step} | ({} if loss is None else {VALIDATION_LOSS: loss})

    def _take(self, best: int) -> None:
        """Load the weights of a step that was checkpointed; every rank calls it."""
        with whole_checkpoint(best) as directory:
            checkpoint.load(directory, self.engine, adapters_only=self.config.method == "lora")

    def _export(self, step: int) -> None:
        """The last checkpoint: the model from rank 0, and every rank's list of what it consumed.

        Args:
            step: whose weights the model has.
        """
        import ray.train

        request = reference(self.engine, self.model, self.plan.passages, self.config, self.device, self.rank)
        weights = gather(
            self.model, self.rank, zero_stage=self.config.zero_stage, trainable_only=self.config.method == "lora"
        )
        with tempfile.TemporaryDirectory() as scratch:
            directory = Path(scratch)
            checkpoint.write_audit(directory / checkpoint.EXPORT / checkpoint.AUDIT, self.rank, self.progress)
            if self.rank == 0:
                save_model(weights, self.model, self.base_directory, directory / checkpoint.EXPORT, self.config)
            auto_tokenizer = check_on_every_rank(
                directory / checkpoint.EXPORT, request, self.rank, self.config.hang_seconds
            )
            if self.rank == 0:
                told = {"exported_step": step, "auto_tokenizer": auto_tokenizer}
                checkpoint.write_trace(directory, self.progress, self.world_size, self.meters.sizes() | told)
            checkpoint.write_digests(directory, self.rank)
            ray.train.report(
                self._reported(),
                checkpoint=ray.train.Checkpoint.from_directory(scratch),
                checkpoint_upload_fn=checkpoint_upload(),
            )
        self._scratch.remove()
