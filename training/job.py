"""``python -m training.job RUN_DIR``: corpus snapshot + base model → tuned model. Runs as the driver of a Ray job."""

import functools
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engines.ray import connect, require_room
from handoff.artifact import Artifact
from handoff.crash_points import crash_point
from handoff.errors import ConfigError
from handoff.facts import BaseModelFacts, ModelFacts, Step, facts_of
from handoff.job import run_stage
from handoff.model_files import model_directory
from handoff.packages import cache_dir
from handoff.publish import Staging, obtain, versioned
from handoff.rows import open_corpus, pair_borders, reader_bytes
from handoff.run_dir import RunDir, StageRecord
from handoff.tokenizer import ModelTokenizer
from registry.mlflow_run import flat
from registry.tracking import LiveRun
from training.base.artifact import publish_base_model
from training.base.fit_check import refuse_targets
from training.base.model_check import make_model
from training.config import TrainingConfig
from training.data.ingest import Passages, count_blocks
from training.data.packing import Count
from training.data.slots import data_slots
from training.export.check import AUTO_TOKENIZER_DIFFERS
from training.files import put_directory
from training.fit import Outcome, Training, fit, model_card
from training.identity import CODE_VERSION, identity, refuse_changes
from training.recipe import DEFAULT_RECIPE, Recipe

log = logging.getLogger("baton")

PROBED_PAIRS = 1024  # whose borders are looked at before training
CHECKPOINTS = "_training"  # beside the artifacts, one directory per model id, gone once that is published


def train(run: RunDir, record: StageRecord, recipe: Recipe = DEFAULT_RECIPE, *, track: bool = False) -> None:
    """Body of the train stage.

    Args:
        run: the run's directory.
        record: of this stage.
        recipe: the loss and the model's class; others than ours make another model, see ``examples/own_step.py``.
        track: tell MLflow of each step while it happens.
    """
    config = run.section("training", TrainingConfig)
    with record.phase("open inputs"):
        corpus = open_corpus(run, "train")
        base = publish_base_model(config.base, run.store, cache_dir())
    log.info("corpus %s: %d train passages", corpus.id, corpus.manifest.rows["train"])
    log.info("base model %s: %s", base.id, _described(base))
    settings = identity(config) | recipe.identity()
    refuse_changes(run, versioned(CODE_VERSION, settings) | {"corpus": corpus.id, "base": base.id})

    def make(place: Staging) -> Artifact:
        return tuned_model(place, run, record, config, corpus, base, recipe, track)

    model, record.reused = obtain(run.store, "model", CODE_VERSION, settings, [corpus, base], make)
    record.artifact = model.id
    if record.reused:
        record.headline = f"model {model.id} reused"
    log.info("model: %s", model.data)


def tuned_model(
    place: Staging,
    run: RunDir,
    record: StageRecord,
    config: TrainingConfig,
    corpus: Artifact,
    base: Artifact,
    recipe: Recipe,
    track: bool,
) -> Artifact:
    """Tune the base model on the corpus and publish it; a killed attempt's checkpoints are gone on from."""
    log.info("%s", describe(config))
    everywhere = config.method == "lora" and config.lora.targets == "all-linear"
    if (
        everywhere and base.store.is_local
    ):  # else the driver would fetch the model for this line alone, which plan has too
        left = refuse_targets(make_model(Path(model_directory(base))), config.lora)
        log.info("%s", left or "adapters on all linear layers")
    tokenizer = ModelTokenizer.of_model(base)
    with record.phase("connect to Ray"):
        connect()
        require_room(config.workers)
    passages = Passages.of_corpus(corpus, "train", tokenizer, *data_slots(config))
    log.info(
        "data: %d files; a task that reads one holds %.0f MB", len(passages.paths), reader_bytes(corpus, "train") / 1e6
    )
    validation = None
    if config.validate_every_steps:
        check_split(corpus, "validation")
        validation = Passages.of_corpus(corpus, "validation", tokenizer, *data_slots(config))
    if passages.pairs:
        looked_at, borders = pair_borders(passages.paths[0], passages.filesystem, tokenizer, PROBED_PAIRS)
        for reason, number in borders.items():
            log.info("of the first %d pairs, %d completions %s", looked_at, number, reason)
    with record.phase("count tokens"):
        counted = count_epoch(passages, config)
        total_steps = steps_of(counted, config)
    log.info(
        "%d steps x %d tokens (%d workers x %d blocks x %d tokens)",
        total_steps, config.tokens_per_step, config.num_workers, config.blocks_per_rank(config.num_workers),
        config.seq_len,
    )  # fmt: skip
    params = flat(config.model_dump(mode="json"))
    # Without a server MLflow is a file of this deployment: on a cluster's head it would be one that nobody reads.
    seen = run.store.is_local or "MLFLOW_TRACKING_URI" in os.environ
    live = LiveRun(run.name, place.id, params) if track and seen else None
    with record.phase("train"):
        storage = f"{run.store.root}/{CHECKPOINTS}"
        outcome = fit(Training(config, base, passages, total_steps, storage, place.id, validation, recipe), live)
    with record.phase("publish"):
        with outcome.local_export() as exported:
            card = model_card(config, corpus, base, outcome)
            with tempfile.TemporaryDirectory() as scratch:
                Path(scratch, "README.md").write_text(card)
                put_directory(exported, place)
                put_directory(Path(scratch), place)
        crash_point("train.exported")
        known = facts(config, base, outcome, counted if passages.pairs else None)
        model = place.publish(facts=known)
        run.store.delete(f"{CHECKPOINTS}/{model.id}")
    last = outcome.trace[-1]
    record.metrics = {"steps": last["step"], "loss": last["loss"], "tokens": last["tokens"]}
    log.info(
        "%.1f %% of the trained places were real tokens, the others pads; %.1f %% of the time went into waiting for data",
        100 * (known.real_token_share or 0), 100 * (known.data_wait_share or 0),
    )  # fmt: skip
    log.info(
        "checked: loaded in a fresh process, the exported model has the tokens, end tokens, logits and losses of training"
    )
    if outcome.sizes["auto_tokenizer"] == "differs":
        log.info("%s", AUTO_TOKENIZER_DIFFERS)
    exported = outcome.sizes["exported_step"]
    if exported != last["step"]:
        log.info("the weights are those of step %d, with the lowest validation loss", exported)
    record.headline = (
        f"{last['tokens']:,} tokens in {last['step']} steps, loss {outcome.trace[0]['loss']:.2f} → {last['loss']:.2f}, "
        f"{last['tokens'] / last['seconds']:.0f} tokens/s"
        + (f", {counted.too_long:,} of {counted.rows:,} pairs too long" if counted.too_long else "")
    )
    return model


def check_split(corpus: Artifact, split: str) -> None:
    """Raise ConfigError where a split has no rows."""
    if not corpus.manifest.rows.get(split):
        raise ConfigError(
            f"{corpus.id} has no {split} passages. Remedy: hold documents out for it in corpus.split, "
            "or unset training.validate_every_steps"
        )


def describe(config: TrainingConfig) -> str:
    """One line of the settings that people ask about."""
    method = f"LoRA rank {config.lora.rank}" if config.method == "lora" else "full fine-tuning"
    offloaded = [
        n for n, on in [("optimizer", config.offload_optimizer), ("parameters", config.offload_parameters)] if on
    ]
    workers = f"{config.min_workers} to {config.num_workers}" if config.min_workers else f"{config.num_workers}"
    return (
        f"{method}, {config.precision}, ZeRO {config.zero_stage}"
        + (f" with {' and '.join(offloaded)} in host memory" if offloaded else "")
        + f", {workers} workers on {'GPUs, NCCL' if config.use_gpu else 'CPUs, gloo'}, "
        f"peak learning rate {config.learning_rate:g} ({config.schedule})"
    )


def count_epoch(passages: Passages, config: TrainingConfig) -> Count:
    """Blocks of an epoch, or as many as ``max_steps`` takes, by tokenising the split once or until there is enough.

    Raises:
        ConfigError: every pair that was looked at is longer than a block.
    """
    enough = config.max_steps and max(
        -(-config.max_steps * config.blocks_per_step // config.epochs), config.blocks_per_step
    )
    counted = count_blocks(passages, config.seq_len, enough, padded=config.padded)
    if counted.too_long:
        said = (
            f"{counted.too_long:,} of {counted.rows:,} pairs of prompt and completion are longer than training.seq_len "
            f"{config.seq_len} tokens"
        )
        if not counted.blocks:
            raise ConfigError(f"{said}, so nothing is left to train on. Remedy: raise it")
        log.info("%s and are left out: a pair is never cut", said)
    if enough is None:
        log.info("%d blocks in an epoch, %d epochs", counted.blocks, config.epochs)
    return counted


def steps_of(counted: Count, config: TrainingConfig) -> int:
    """Optimizer steps: what the epochs hold, at most ``max_steps``.

    Raises:
        ConfigError: the split does not fill one step.
    """
    step = config.blocks_per_step
    if counted.blocks < step:
        raise ConfigError(
            f"the train split makes {counted.blocks} blocks of {config.seq_len} tokens, one step takes {step}. Remedy: "
            "lower training.seq_len, global_batch_tokens, micro_batch_size or num_workers, or add text"
        )
    steps = -(-counted.blocks * config.epochs // step)
    return min(steps, config.max_steps) if config.max_steps else steps


def facts(config: TrainingConfig, base: Artifact, outcome: Outcome, pairs: Count | None) -> ModelFacts:
    """What the model's manifest tells besides; ``pairs`` counts those of prompt and completion, where there are any."""
    last = outcome.trace[-1]
    counted = {"pairs": pairs.rows, "pairs_too_long": pairs.too_long} if pairs else {}
    return ModelFacts(
        steps=[Step.model_validate({k: v for k, v in entry.items() if k != "blocks"}) for entry in outcome.trace],
        train_tokens=last["tokens"],
        blocks=last["blocks"],
        data_wait_share=data_wait_share(outcome.trace),
        real_token_share=last["tokens"] / (last["step"] * config.tokens_per_step),
        parameters=facts_of(base.manifest, BaseModelFacts).parameters,
        restarts=outcome.restarts,
        **outcome.sizes,
        seconds=last["seconds"],
        core_seconds=outcome.worker_seconds * config.cpus_per_worker,
        gpu_seconds=outcome.worker_seconds if config.use_gpu else 0.0,
        method=config.method,
        zero_stage=config.zero_stage,
        **counted,
    )


def data_wait_share(trace: Sequence[dict[str, Any]]) -> float:
    """Share of the steps' time in which rank 0 waited for data; the first step, which starts Ray Data, left out."""
    steps = [(e["data_wait_share"] * e["step_seconds"], e["step_seconds"]) for e in trace[1:] or trace]
    return sum(waited for waited, _ in steps) / max(sum(seconds for _, seconds in steps), 1e-9)


def _described(base: Artifact) -> str:
    known = facts_of(base.manifest, BaseModelFacts)
    return f"{known.architecture}" + (f", {known.parameters / 1e6:.1f} M parameters" if known.parameters else "")


if __name__ == "__main__":
    sys.exit(run_stage("train", functools.partial(train, track=True), sys.argv[1:]))
