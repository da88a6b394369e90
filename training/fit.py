"""Running Ray Train on the driver: workers, restarts, checkpoints in the store, and what came out."""

import contextlib
import json
import logging
import os
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handoff.artifact import Artifact
from handoff.causes import cause_of
from handoff.crash_points import ENVIRONMENT_VARIABLE
from handoff.errors import BatonError, InfrastructureError
from handoff.facts import BaseModelFacts, facts_of
from handoff.store import resolve
from registry.tracking import LiveRun
from training.checkpoints.checkpoint import EXPORT, TRACE, verify
from training.checkpoints.resume import VALIDATION_LOSS
from training.config import TrainingConfig
from training.data.ingest import Passages
from training.export.check import AUTO_TOKENIZER_DIFFERS
from training.recipe import DEFAULT_RECIPE, Recipe
from training.worker.events import EventLogger, Events
from training.worker.loop import Plan, train_worker

log = logging.getLogger("baton")

SETTLE_SECONDS = 10.0  # for the other ranks to meet the fault that one of them has met
RESIZE_SECONDS = 60.0  # between looks for room for more workers, where there are fewer than num_workers
HANG_VARIABLE = "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S"  # passed on by Ray Train to its controller


@dataclass(frozen=True)
class Outcome:
    """A finished training.

    Attributes:
        checkpoint: the last one, a ``ray.train.Checkpoint`` with the exported model.
        trace: one entry per step.
        restarts: how often workers had to start again.
        sizes: trainable_parameters, world_size, device, exported_step: whose weights the model has, and auto_tokenizer:
            whether AutoTokenizer reads its tokenizer.json as it is (``same`` or ``differs``).
    """

    checkpoint: Any
    trace: list[dict[str, Any]]
    restarts: int
    sizes: dict[str, Any]

    @property
    def worker_seconds(self) -> float:
        """Seconds of training, times the workers there were; restarts not counted."""
        ends = [entry["seconds"] for entry in self.trace]
        return sum(
            (end - begin) * entry["workers"] for begin, end, entry in zip([0.0, *ends], ends, self.trace, strict=False)
        )

    @contextlib.contextmanager
    def local_export(self) -> Iterator[Path]:
        """The exported Hugging Face directory on this machine; a copy where the store is remote."""
        with self.checkpoint.as_directory() as directory:
            yield Path(directory, EXPORT)


@dataclass(frozen=True)
class Training:
    """One training: what it starts from, what it reads, and where its checkpoints lie.

    Args:
        config: the training section.
        base: model to start from.
        passages: the train split.
        total_steps: optimizer steps.
        storage: path or URI of the directory for checkpoints.
        name: directory of this training there.
        validation: the validation split, looked at every ``validate_every_steps``.
        recipe: what is minimised, and the model's class.
    """

    config: TrainingConfig
    base: Artifact
    passages: Passages
    total_steps: int
    storage: str
    name: str
    validation: Passages | None = None
    recipe: Recipe = DEFAULT_RECIPE


def fit(training: Training, live: LiveRun | None = None) -> Outcome:
    """Train; goes on from the last checkpoint under ``storage/name`` where an earlier attempt left one.

    Args:
        training: what to train.
        live: MLflow run that hears each step.

    Raises:
        BatonError: what a worker raised, where the user can fix it: the loss became NaN or infinite (its last good
            checkpoint stays), memory ran out, every checkpoint is damaged, or an error that would come again.
        InfrastructureError: workers were lost more than ``max_failures`` times.
        RuntimeError: workers failed otherwise more than ``max_failures`` times.
    """
    import ray
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    config, checkpoints = training.config, f"{training.storage}/{training.name}"
    if len(ray.nodes()) == 1:  # nothing to move to: saves a process, 5 s of CPU at each start
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    os.environ[HANG_VARIABLE] = str(config.hang_seconds)
    # Beside this driver: a node that is lost with the events on it would end the training.
    here: Any = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    events = ray.remote(num_cpus=0, scheduling_strategy=here)(Events).remote()
    crash_at = os.environ.get(ENVIRONMENT_VARIABLE, "")
    plan = Plan(
        config, training.base, training.passages, training.validation, training.total_steps, events, training.recipe,
        checkpoints, crash_at,
    )  # fmt: skip
    scaling: dict[str, Any] = {
        "num_workers": (config.min_workers, config.num_workers) if config.min_workers else config.num_workers,
        "elastic_resize_monitor_interval_s": RESIZE_SECONDS,
        "use_gpu": config.use_gpu,
        "resources_per_worker": {"CPU": config.cpus_per_worker, **({"GPU": 1} if config.use_gpu else {})},
    }
    filesystem, path = resolve(training.storage)
    filesystem.create_dir(path, recursive=True)
    trainer = TorchTrainer(
        _work,
        train_loop_config={"plan": plan},
        torch_config=TorchConfig("nccl" if config.use_gpu else "gloo", timeout_s=int(config.hang_seconds)),
        scaling_config=ScalingConfig(**scaling),
        run_config=RunConfig(
            name=training.name,
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=config.max_failures),
            checkpoint_config=CheckpointConfig(
                num_to_keep=config.checkpoints_kept,  # and the newest, where the best are kept
                checkpoint_score_attribute=VALIDATION_LOSS if config.keep == "best" else None,
                checkpoint_score_order="min",
            ),
        ),
    )
    log.info("checkpoints every %d steps in %s", config.checkpoint_every_steps, checkpoints)
    try:
        with EventLogger(events, config, training.total_steps, live) as follower:
            result = trainer.fit()
    except TrainingFailedError as error:
        raise (_failure(events) or _plain(error)) from error
    if failure := _failure(events):
        if live:
            live.failed()
        if result.checkpoint is not None:
            log.info("train: the last good checkpoint is kept in %s", result.checkpoint.path)
        raise failure
    assert result.checkpoint is not None
    with result.checkpoint.as_directory() as directory:
        noted = json.loads(Path(directory, TRACE).read_text())
        verify(Path(directory), noted["sizes"]["world_size"])
    restarts = max(noted["restarts"], follower.attempts - 1)  # the first counts those of earlier drivers too
    return Outcome(result.checkpoint, noted["steps"], restarts, noted["sizes"])


def _failure(events: Any) -> BatonError | InfrastructureError | None:
    import ray

    try:
        return ray.get(events.failure.remote())
    except ray.exceptions.RayError:  # the cluster is gone, and its error is the one to show
        return None


def _plain(error: BaseException) -> Exception:
    """Why the workers failed, in one line, and whether another attempt of the stage may get further."""
    cause = cause_of(error)
    if not cause.retry_helps:
        return WorkerFault(cause.sentence)
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    reasons = [f"rank {rank}: {cause_of(failure).sentence}" for rank, failure in sorted(failures.items())]
    return (InfrastructureError if cause.kind == "outside" else RuntimeError)(
        f"workers failed more often than training.max_failures allows ({'; '.join(reasons) or cause.sentence}); "
        "their logs are among the engine logs named above, in train/. The next attempt goes on from the last checkpoint"
    )


class WorkerFault(BatonError):
    """What a worker raised, and would raise again after a restart."""


def _work(settings: dict[str, Any]) -> None:
    """Body of a worker: a fault that a restart would only meet again is told to the events, and ends the training.

    So is a store that does not answer: the worker has waited for it, and the stage's next attempt comes later.
    """
    import ray
    import ray.train

    events = settings["plan"].events
    try:
        train_worker(settings)
    except Exception as error:
        cause = cause_of(error)
        if _group_was_ended() or (not cause.store_is_gone and (cause.explained or cause.retry_helps)):
            raise
        traceback.print_exc()
        fault = InfrastructureError if cause.store_is_gone else WorkerFault
        ray.get(events.failed.remote(fault(cause.sentence)))
        if not _every_rank_failed(events, ray.train.get_context().get_world_size()):
            raise  # the others wait for this rank until the group is ended; the next one finds the failure on the events


def _group_was_ended() -> bool:
    """Whether Ray has ended the process group under a worker that still trained: then why it did so is what counts."""
    import torch.distributed

    return not torch.distributed.is_initialized()


def _every_rank_failed(events: Any, ranks: int) -> bool:
    """Whether all ranks come to the same end within SETTLE_SECONDS: then the group ends without a restart."""
    import ray

    deadline = time.monotonic() + SETTLE_SECONDS
    while ray.get(events.failures.remote()) < ranks:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def model_card(config: TrainingConfig, corpus: Artifact, base: Artifact, outcome: Outcome) -> str:
    """README.md of the exported model: what it was made from, how, and what to mind."""
    last = outcome.trace[-1]
    settings = json.dumps(config.model_dump(mode="json"), indent=2)
    tokenizer = f"\n{AUTO_TOKENIZER_DIFFERS}\n" if outcome.sizes["auto_tokenizer"] == "differs" else ""
    adapter = "\nThe weights are merged; the adapter alone is in `adapter/`.\n" if config.method == "lora" else ""
    return f"""---
library_name: transformers
pipeline_tag: text-generation
---
# A causal language model tuned by Baton

| | |
|---|---|
| Base model | {facts_of(base.manifest, BaseModelFacts).source} (`{base.id}`) |
| Data | corpus `{corpus.id}`, split `train` |
| Trained on | {last["tokens"]:,} tokens in {last["step"]} steps |
| Hardware | {outcome.sizes["world_size"]} workers x {config.cpus_per_worker:g} CPU cores, {outcome.sizes["device"]} |
| Cost | {f"{outcome.worker_seconds:,.0f} GPU-seconds, " if config.use_gpu else ""}\
{outcome.worker_seconds * config.cpus_per_worker:,.0f} core-seconds in {last["seconds"]:,.0f} s, restarts not counted |
| Weights of | step {outcome.sizes["exported_step"]} of {last["step"]} |
| Final training loss | {last["loss"]:.3f} nats per token |
{adapter}{tokenizer}
The licences of the base model and of the training text apply to this model too: check both before you share it.
It has learnt the style of its text, not to be right or harmless.

## Configuration

```json
{settings}
```
"""
