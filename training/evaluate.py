"""``python -m training.evaluate RUN_DIR``: perplexity of base and tuned model on held-out passages, and the gate."""

import itertools
import json
import logging
import math
import sys
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from engines.ray import connect, require_room
from handoff.artifact import Artifact, open_artifact
from handoff.errors import ConfigError, GateFailed
from handoff.facts import EvaluationFacts, Gate, Measured, SplitResult, facts_of
from handoff.identity import identity_of
from handoff.job import Progress, run_stage
from handoff.model_files import model_directory
from handoff.publish import Staging, obtain
from handoff.run_dir import RunDir, StageRecord
from handoff.tokenizer import ModelTokenizer
from training.config import EvaluationConfig
from training.data.rows import open_corpus, read_rows
from training.scoring import passage_nll, perplexity

log = logging.getLogger("baton")

CODE_VERSION = 2  # raise it when the same models and passages give other figures
MODELS = ("base", "tuned")


def evaluate(run: RunDir, record: StageRecord) -> None:
    """Body of the evaluate stage.

    Raises:
        GateFailed: after publishing, where tuned / base perplexity on the last split is above the limit.
    """
    config = run.section("evaluation", EvaluationConfig)
    with record.phase("open inputs"):
        corpus = open_corpus(run)
        tuned = run.artifact("train")
        base_id = tuned.manifest.parent("model")
        assert base_id, "it was tuned from one"
        base = open_artifact(run.store, base_id)
        tokenizer = ModelTokenizer.of_model(tuned)
        passages: dict[str, list[tuple[list[int], int]]] = {
            split: read_passages(corpus, split, tokenizer, config) for split in config.splits
        }
    models, settings = {"base": base, "tuned": tuned}, identity(config)
    parents = [tuned, base, corpus]

    def make(place: Staging) -> Artifact:
        for split, chosen in passages.items():
            log.info("%s: first %d of %d passages", split, len(chosen), corpus.manifest.rows[split])
        with record.phase("connect to Ray"):
            connect()
            require_room(config.actors)
        with record.phase("score"):
            splits = measure(models, passages, tokenizer, config)
        with record.phase("publish"):
            scores = EvaluationFacts(splits=splits)
            place.store.write(f"{place.path}/metrics.json", json.dumps(scores.told(), indent=2).encode())
            return place.publish(facts=scores)

    evaluation, record.reused = obtain(run.store, "evaluation", CODE_VERSION, settings, parents, make)
    scores = facts_of(evaluation.manifest, EvaluationFacts)
    decision = judge(scores, config)
    record.artifact, record.metrics = evaluation.id, {"gate": decision.model_dump()}
    for line in table(scores):
        log.info("%s", line)
    log.info("evaluation: %s", evaluation.directory)
    shown = scores.splits[decision.split]
    before, after = shown.base.perplexity, shown.tuned.perplexity
    record.headline = f"perplexity {before:.2f} → {after:.2f} on {decision.split} (x {decision.ratio:.3f})"
    if not decision.passed:
        raise GateFailed(
            f"perplexity on {decision.split} is {after:.2f} tuned and {before:.2f} base: ratio "
            f"{decision.ratio:.3f} is above evaluation.max_perplexity_ratio {decision.limit:g}; the model is not "
            "promoted. Remedy: train longer or with another learning rate, or raise the limit"
        )


def identity(config: EvaluationConfig) -> dict[str, Any]:
    """What of the configuration determines the figures; part of the evaluation's id."""
    return {"evaluation": identity_of(config)}


def read_passages(
    corpus: Artifact, split: str, tokenizer: ModelTokenizer, config: EvaluationConfig
) -> list[tuple[list[int], int]]:
    """The first passages of a split as token ids and prompt length, in the manifest's order of files.

    Raises:
        ConfigError: the split has no rows, or every prompt fills ``max_tokens``.
    """
    if not corpus.manifest.rows.get(split):
        raise ConfigError(
            f"{corpus.id} has no {split} passages. Remedy: hold documents out for it in corpus.split, "
            "or leave it out of evaluation.splits"
        )
    found = list(itertools.islice(_rows(corpus, split, tokenizer), config.max_passages))
    cut = [(ids[: config.max_tokens], prompt) for ids, prompt in found if prompt < config.max_tokens]
    if not cut:
        raise ConfigError(f"every {split} prompt is longer than evaluation.max_tokens {config.max_tokens}: raise it")
    return cut


def _rows(corpus: Artifact, split: str, tokenizer: ModelTokenizer) -> Iterator[tuple[list[int], int]]:
    for entry in corpus.manifest.files:
        if entry.split == split:
            filesystem, path = corpus.store.locate(corpus.path_of(entry))
            for rows in read_rows(path, filesystem, tokenizer, end=False):
                yield from rows


def measure(
    models: dict[str, Artifact],
    passages: dict[str, list[tuple[list[int], int]]],
    tokenizer: ModelTokenizer,
    config: EvaluationConfig,
) -> dict[str, SplitResult]:
    """Score all passages under both models on one pool of actors.

    The batches of the base model come first: each actor holds one model at a time and changes once.

    Returns:
        Per split: base and tuned, each with perplexity, tokens and passages, and their ratio.
    """
    import ray

    work = list(batches(passages, config))
    progress = Progress("evaluate", "passages", len(MODELS) * sum(map(len, passages.values())))
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    scored = ray.data.from_blocks(work).map_batches(
        Scorer,
        fn_constructor_args=(models, tokenizer.end_id, "cuda" if config.use_gpu else "cpu"),
        batch_format="pyarrow",
        batch_size=None,
        compute=ray.data.ActorPoolStrategy(size=config.num_actors),
        num_cpus=0 if config.use_gpu else 1,
        num_gpus=1 if config.use_gpu else 0,
    )
    scores: dict[tuple[str, str], list[tuple[float, int]]] = {}
    batch: Any
    for batch in scored.iter_batches(batch_size=None, batch_format="pyarrow"):
        for row in batch.to_pylist():
            scores.setdefault((row["split"], row["model"]), []).append((row["nll"], row["predicted"]))
        progress.add(batch.num_rows)
    return {split: compare(split, {m: scores[split, m] for m in MODELS}) for split in passages}


def batches(passages: dict[str, list[tuple[list[int], int]]], config: EvaluationConfig) -> Iterator[pa.Table]:
    """One table (model, split, ids, prompt) per forward pass: a split's passages by length, so that little is padded."""
    for model in MODELS:
        for split, rows in passages.items():
            ordered = sorted(rows, key=lambda row: len(row[0]), reverse=True)
            for first in range(0, len(ordered), config.batch_size):
                part = ordered[first : first + config.batch_size]
                yield pa.table(
                    {
                        "model": [model] * len(part),
                        "split": [split] * len(part),
                        "ids": pa.array([ids for ids, _ in part], pa.list_(pa.int32())),
                        "prompt": pa.array([prompt for _, prompt in part], pa.int32()),
                    }
                )


class Scorer:
    """An actor of the pool: scores a batch under the model that the batch names, which it loads when it changes.

    Weights are scored in the precision that they are stored in, fp16 in another: its range ends at 65,504, which the
    activations of many models leave, and all that comes after is not a number.
    """

    def __init__(self, models: dict[str, Artifact], pad_id: int, device: str) -> None:
        self._models, self._pad_id, self._device = models, pad_id, device
        self._loaded, self._model = "", None

    def __call__(self, batch: pa.Table) -> pa.Table:
        name = batch["model"][0].as_py()
        if name != self._loaded:
            self._load(name)
        ids, prompts = batch["ids"].to_pylist(), batch["prompt"].to_pylist()
        scores = passage_nll(self._model, ids, self._pad_id, prompts)
        nll, predicted = zip(*scores, strict=True)
        return (
            batch.drop_columns("ids")
            .append_column("nll", pa.array(nll))
            .append_column("predicted", pa.array(predicted))
        )

    def _load(self, name: str) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        self._model = None  # freed before the next one is loaded
        directory = model_directory(self._models[name])
        model: Any = AutoModelForCausalLM.from_pretrained(directory, dtype="auto")
        if model.dtype == torch.float16:
            model = model.to(torch.bfloat16 if self._device == "cuda" else torch.float32)
        self._model, self._loaded = model.to(self._device).eval(), name


def compare(split: str, scores: dict[str, list[tuple[float, int]]]) -> SplitResult:
    """Perplexities of base and tuned on one split, and tuned / base.

    Raises:
        ConfigError: one of them is not a number.
    """
    found = {
        name: Measured(perplexity=perplexity(s), tokens=sum(n for _, n in s), passages=len(s))
        for name, s in scores.items()
    }
    if bad := [name for name in scores if not math.isfinite(found[name].perplexity)]:
        raise ConfigError(
            f"the perplexity of the {' and the '.join(bad)} model on {split} is not a number, so nothing can be compared. "
            "Remedy: check its weights for NaN and infinite values; bf16 or fp32 weights overflow less than fp16"
        )
    base, tuned = found["base"], found["tuned"]
    return SplitResult(base=base, tuned=tuned, ratio=tuned.perplexity / base.perplexity)


def judge(scores: EvaluationFacts, config: EvaluationConfig) -> Gate:
    """Whether the tuned model is good enough on the last split, by the scores that the evaluation keeps."""
    split = config.splits[-1]
    ratio, limit = scores.splits[split].ratio, config.max_perplexity_ratio
    return Gate(split=split, ratio=ratio, limit=limit, passed=ratio <= limit)


def table(scores: EvaluationFacts) -> list[str]:
    """The figures for people, a line per split."""
    lines = [f"{'split':12} {'passages':>8} {'tokens':>9} {'base':>9} {'tuned':>9} {'ratio':>7}   (perplexity)"]
    for split, found in scores.splits.items():
        base, tuned = found.base, found.tuned
        lines.append(
            f"{split:12} {base.passages:8,} {base.tokens:9,} {base.perplexity:9.2f} "
            f"{tuned.perplexity:9.2f} {found.ratio:7.3f}"
        )
    return lines


if __name__ == "__main__":
    sys.exit(run_stage("evaluate", evaluate, sys.argv[1:]))
