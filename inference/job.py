"""``python -m inference.job RUN_DIR``: model and prompts → predictions, on Ray."""

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engines.ray import connect, require_room
from handoff import schema
from handoff.artifact import Artifact
from handoff.errors import ConfigError
from handoff.job import log, run_stage
from handoff.model_files import model_directory
from handoff.parquet import batches
from handoff.positions import positions_of
from handoff.publish import find, staging
from handoff.run_dir import RunDir, StageRecord
from handoff.store import resolve
from handoff.tokenizer import ModelTokenizer
from inference.config import InferenceConfig
from inference.lineage import Inputs, find_inputs, made_of
from inference.pipeline import CPU_STAGE_SLOTS, ROWS_PER_FILE, predict
from inference.progress import reported, start_counter
from inference.prompts import load_prompts, publish_prompt_file, spread
from inference.text_stages import ModelReference

SAMPLES = 3  # completions shown in the log


def main_stage(run: RunDir, record: StageRecord) -> None:
    """Read prompts and models, complete, publish one predictions artifact."""
    config = run.section("inference", InferenceConfig)
    inputs = find_inputs(run, config)
    prompts = load_prompts(config, inputs.corpus)
    positions = check_models(config, inputs)
    prompt_file = publish_prompt_file(run.store, config.prompts) if config.prompts else None
    settings, parents = made_of(config, inputs, prompt_file)
    if published := find(run.store, "predictions", settings, parents):
        log.info("%s is already published: reused", published.id)
        record.artifact, record.reused = published.id, True
        record.headline, record.metrics = headline(published.manifest.facts), metrics(published.manifest.facts)
        return

    describe(config, inputs, prompts)
    connect()
    require_room(config.actors)
    baseline: dict[str, str | None] = {}
    if inputs.base is not None:
        with record.phase("baseline"):
            some = prompts.take(spread(config.baseline_prompts, len(prompts)))
            baseline = complete_baseline(some, inputs.base, positions, config)
    with staging(run.store, "predictions", settings, parents) as place:
        with record.phase("generate"):
            seconds = write_predictions(prompts, inputs.tuned, positions, config, baseline, place.uri())
        with record.phase("publish"):
            facts = count_facts(place.uri(), seconds) | {"model": inputs.tuned.id, "baseline_prompts": len(baseline)}
            predictions = place.publish(schema=schema.PREDICTIONS, rows={"all": len(prompts)}, facts=facts)
    record.artifact = predictions.id
    record.headline, record.metrics = headline(facts), metrics(facts)
    show_samples(predictions)
    log.info("predictions: %s", predictions.directory)


def check_models(config: InferenceConfig, inputs: Inputs) -> int | None:
    """Longest sequence that both models allow, in tokens; None where they do not say.

    Raises:
        ConfigError: the completion alone fills it, or a model has no fast tokenizer, or no token that ends a text.
    """
    directories = [model_directory(model) for model in (inputs.tuned, inputs.base) if model is not None]
    for directory in directories:
        ModelTokenizer.of_directory(directory)
    known = [positions_of(json.loads(Path(directory, "config.json").read_text())) for directory in directories]
    positions = min((p for p in known if p is not None), default=None)
    if positions is not None and positions <= config.max_new_tokens:
        raise ConfigError(
            f"max_new_tokens is {config.max_new_tokens}, the model has {positions} positions for prompt and completion. "
            "Remedy: lower inference.max_new_tokens"
        )
    return positions


def describe(config: InferenceConfig, inputs: Inputs, prompts: pa.Table) -> None:
    sources = {v["values"]: v["counts"] for v in prompts["source"].value_counts().to_pylist()}
    listed = ", ".join(f"{n:,} {source}" for source, n in sources.items())
    log.info("model: %s; base: %s", inputs.tuned.id, inputs.base.id if inputs.base else "not asked")
    log.info("prompts: %s (%s)", f"{len(prompts):,}", listed)
    if config.prompts is None and sources.get("held-out", 0) < config.held_out_prompts:
        log.info(
            "held-out prompts: %d of %d: the test split has no more passages longer than %d words",
            sources.get("held-out", 0), config.held_out_prompts, config.opening_words,
        )  # fmt: skip
    how = f"temperature {config.temperature:g}, top-p {config.top_p:g}, seed {config.seed}"
    log.info(
        "generate: up to %d tokens each, %s; %d replicas of %g CPUs%s, batches of %d",
        config.max_new_tokens, how if config.temperature else "greedy", config.num_actors, config.cpus_per_actor,
        " and 1 GPU" if config.use_gpu else "", config.batch_size,
    )  # fmt: skip


def complete_baseline(
    prompts: pa.Table, base: Artifact, positions: int | None, config: InferenceConfig
) -> dict[str, str | None]:
    """The base model's completion of each prompt by id; None where the prompt is a bad one."""
    counter = start_counter()
    with reported("base model", len(prompts), counter):
        rows = predict(prompts, ModelReference.of(base), positions, config, {}, counter).take_all()
    return {row["id"]: row["completion"] for row in rows}


def write_predictions(
    prompts: pa.Table,
    tuned: Artifact,
    positions: int | None,
    config: InferenceConfig,
    baseline: dict[str, str | None],
    target: str,
) -> float:
    """Stream the predictions into Parquet files below ``target``. Returns the seconds of generating, without loading."""
    import ray

    counter = start_counter()
    filesystem, path = resolve(target)
    with reported("tuned model", len(prompts), counter):
        predict(prompts, ModelReference.of(tuned), positions, config, baseline, counter).write_parquet(
            path, filesystem=filesystem, min_rows_per_file=ROWS_PER_FILE, ray_remote_args={"num_cpus": CPU_STAGE_SLOTS}
        )
    seconds: float = ray.get(counter.snapshot.remote())[2]
    return seconds


def count_facts(target: str, seconds: float) -> dict[str, Any]:
    """Counts of what was written, read from the files themselves."""
    filesystem, path = resolve(target)
    table = pq.read_table(path, filesystem=filesystem, columns=["error", "completion_tokens"])
    tokens = pc.sum(table["completion_tokens"]).as_py() or 0
    return {
        "prompts": len(table),
        "errors": len(table) - table["error"].null_count,
        "completion_tokens": tokens,
        "tokens_per_second": round(tokens / seconds, 1) if seconds else 0.0,
    }


def headline(facts: dict[str, Any]) -> str:
    errors = f", {facts['errors']} with an error" if facts["errors"] else ""
    return (
        f"{facts['prompts']:,} predictions{errors}, {facts['completion_tokens']:,} tokens "
        f"at {facts['tokens_per_second']:.1f} tokens/s"
    )


def metrics(facts: dict[str, Any]) -> dict[str, Any]:
    return {k: facts[k] for k in ("prompts", "errors", "completion_tokens", "tokens_per_second")}


def show_samples(predictions: Artifact) -> None:
    """A few completions, base beside tuned, on one line each; spread over the prompts that have both."""
    pairs: list[dict[str, Any]] = []
    for file in predictions.files():
        filesystem, path = resolve(file)
        with pq.ParquetFile(path, filesystem=filesystem) as parquet:
            for batch in batches(parquet, ["prompt", "completion", "baseline"], 4096):
                pairs += batch.filter(pc.is_valid(batch["baseline"])).to_pylist()
    for number, row in enumerate((pairs[i] for i in spread(SAMPLES, len(pairs))), start=1):
        log.info("sample %d   %s", number, one_line(row["prompt"]))
        log.info("    base   %s", one_line(row["baseline"]))
        log.info("    tuned  %s", one_line(row["completion"]))


def one_line(text: str, width: int = 150) -> str:
    flat = " / ".join(part.strip() for part in text.splitlines() if part.strip())
    return flat if len(flat) <= width else f"{flat[: width - 1]}…"


if __name__ == "__main__":
    sys.exit(run_stage("predict", main_stage, sys.argv[1:]))
