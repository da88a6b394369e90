"""``python -m inference.job RUN_DIR``: model and prompts → predictions, on Ray."""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from engines.ray import connect, require_room
from handoff import schema
from handoff.artifact import Artifact, open_artifact
from handoff.errors import ConfigError, TooManyErrors
from handoff.facts import PredictionFacts, facts_of
from handoff.identity import identity_of
from handoff.job import log, run_stage
from handoff.model_files import model_directory
from handoff.model_json import read_settings
from handoff.positions import positions_of
from handoff.publish import Staging, obtain
from handoff.run_dir import RunDir, StageRecord
from handoff.store import resolve
from handoff.tokenizer import ModelTokenizer
from handoff.working import Working
from inference.config import InferenceConfig
from inference.gather import gather
from inference.lineage import CODE_VERSION, Inputs, find_inputs, parents_of
from inference.openings import MODERN
from inference.outcome import count_facts, headline, metrics, show_samples
from inference.pipeline import Task, answer_all
from inference.prompt_rows import PromptRows
from inference.prompts import publish_prompts
from inference.shards import Answers, shard_rows
from inference.text_stages import ModelReference
from inference.watch import Watch, forget_failed


def main_stage(run: RunDir, record: StageRecord) -> None:
    """Publish prompts, answer them shard by shard, gather the shards into one predictions artifact."""
    config = run.section("inference", InferenceConfig)
    inputs = find_inputs(run, config)
    positions = check_models(config, inputs)
    prompts = publish_prompts(run.store, config, inputs.corpus)
    parents = parents_of(inputs, prompts)

    def make(place: Staging) -> Artifact:
        return make_predictions(place, record, config, inputs, prompts, positions)

    predictions, record.reused = obtain(run.store, "predictions", CODE_VERSION, identity_of(config), parents, make)
    # Of this attempt, or of one that was killed right after it published.
    Working(run.store.root, predictions.id).clear()
    facts = facts_of(predictions.manifest, PredictionFacts)
    record.artifact = predictions.id
    record.headline, record.metrics = headline(facts), {**metrics(facts), **record.metrics}
    if record.reused:
        refuse_published(facts, config)
        return
    show_samples(predictions)
    log.info("predictions: %s", predictions.directory)


def make_predictions(
    place: Staging,
    record: StageRecord,
    config: InferenceConfig,
    inputs: Inputs,
    prompts: Artifact,
    positions: int | None,
) -> Artifact:
    """Answer all prompts, the base model's share first, and publish the answers."""
    working = Working(place.store.root, place.id)
    describe(config, inputs, prompts)
    connect()
    require_room(config.actors)
    tuned = Task(
        PromptRows.of(prompts), ModelReference.of(inputs.tuned), positions, config, Answers(working, "answers")
    )
    base: Task | None = None
    if inputs.base is not None:
        some, answers = PromptRows.of(prompts, config.baseline_prompts), Answers(working, "baseline")
        base = Task(some, ModelReference.of(inputs.base), positions, config, answers)
        with record.phase("baseline"):
            answer(base, "base model")
    with record.phase(config.task):
        record.metrics = answer(tuned, "tuned model")
    with record.phase("publish"):
        for parent in place.parents:  # that went away meanwhile: nobody could trace the predictions back
            open_artifact(place.store, parent.id)
        tally = gather(tuned.answers, base.answers if base else None, (base or tuned).prompts, place.uri())
        declared = schema.with_columns(config.rows_schema, carried(prompts, config))
        return place.publish(schema=declared, rows={"all": tally.rows}, facts=count_facts(tally, tuned, base))


def answer(task: Task, label: str) -> dict[str, int]:
    """Answer what is not answered yet. Returns counts for the stage's record.

    Raises:
        TooManyErrors: ``max_errored_rows``. Rows on which the model failed are tried anew by the next attempt.
    """
    try:
        watch = Watch(label, task.config, task.prompts.count, task.answers)
        return {"restarts": answer_all(task, watch), "resumed_rows": watch.done_before}
    except TooManyErrors:
        forget_failed(task.answers)
        raise


def refuse_published(facts: PredictionFacts, config: InferenceConfig) -> None:
    """Judge published predictions by the configured limit. Raises TooManyErrors."""
    most = config.most_errors(facts.prompts or 0)
    if most is not None and (facts.errors or 0) > most:
        raise TooManyErrors(
            f"{facts.errors:,} of {facts.prompts:,} prompts have an error, and inference.max_errored_rows bears {most:,}: "
            f"{', '.join(facts.errors_by_cause)}. Remedy: correct the prompts or the settings, or raise it"
        )


def carried(prompts: Artifact, config: InferenceConfig) -> list[pa.Field]:
    """The columns of the prompts that the predictions have too."""
    filesystem, path = resolve(prompts.files()[0])
    with pq.ParquetFile(path, filesystem=filesystem) as file:
        return [file.schema_arrow.field(name) for name in config.carry]


def check_models(config: InferenceConfig, inputs: Inputs) -> int | None:
    """Longest sequence that both models allow, in tokens; None where they do not say.

    Raises:
        ConfigError: the completion alone fills it, or a model has no fast tokenizer, or no token that ends a text.
    """
    directories = [model_directory(model) for model in (inputs.tuned, inputs.base) if model is not None]
    for directory in directories:
        ModelTokenizer.of_directory(directory)
    known = [positions_of(read_settings(Path(directory, "config.json"))) for directory in directories]
    positions = min((p for p in known if p is not None), default=None)
    if positions is not None and positions <= config.max_new_tokens:
        raise ConfigError(
            f"max_new_tokens is {config.max_new_tokens}, the model has {positions} positions for prompt and completion. "
            "Remedy: lower inference.max_new_tokens"
        )
    return positions


def describe(config: InferenceConfig, inputs: Inputs, prompts: Artifact) -> None:
    rows = prompts.manifest.rows["all"]
    log.info("model: %s; base: %s", inputs.tuned.id, inputs.base.id if inputs.base else "not asked")
    if config.prompts is None:
        held_out = rows - len(MODERN)
        log.info("prompts: %d (%d held-out, %d modern)", rows, held_out, len(MODERN))
        if held_out < config.held_out_prompts:
            log.info(
                "held-out prompts: %d of %d: the test split has no more passages longer than %d words",
                held_out, config.held_out_prompts, config.opening_words,
            )  # fmt: skip
    else:
        log.info("prompts: %s from %s", f"{rows:,}", config.prompts)
    replicas = f"{config.num_actors} replicas of {config.cpus_per_actor:g} CPUs{' and 1 GPU' if config.use_gpu else ''}"
    shards = f"{replicas}, shards of {shard_rows(rows, config)} rows"
    if config.task == "score":
        log.info("score: completions of up to %d tokens; %s", config.max_new_tokens, shards)
        return
    how = f"temperature {config.temperature:g}, top-p {config.top_p:g}, seed {config.seed}"
    log.info(
        "generate: up to %d tokens each, %s; %s", config.max_new_tokens, how if config.temperature else "greedy", shards
    )


if __name__ == "__main__":
    sys.exit(run_stage("predict", main_stage, sys.argv[1:]))
