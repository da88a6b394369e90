"""A pool of actors that score passages, or complete prompts, under several models, one model at a time."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from engines.alone import Limits
from engines.likelihood import forget_growth, scoring_limits
from evaluation.config import EvaluationConfig
from evaluation.passages import Encoded
from evaluation.scoring import passage_nll
from handoff.artifact import Artifact
from handoff.job import Progress
from handoff.model_files import model_directory, settings_of
from handoff.positions import positions_of
from handoff.tokenizer import ModelTokenizer

log = logging.getLogger("baton")
Nll = tuple[float, int]  # summed negative log-likelihood in nats, and how many tokens were predicted
Encodings = Mapping[str, Mapping[str, list[Encoded]]]  # by model, by split


@dataclass(frozen=True)
class Contender:
    """A model that takes part in an evaluation, with its tokenizer."""

    artifact: Artifact
    tokenizer: ModelTokenizer

    @classmethod
    def of(cls, artifact: Artifact) -> "Contender":
        return cls(artifact, ModelTokenizer.of_model(artifact))

    @property
    def positions(self) -> int | None:
        """The longest sequence that it takes, in tokens; None where it does not say."""
        return positions_of(settings_of(self.artifact))


def score(
    models: Mapping[str, Contender], encoded: Encodings, config: EvaluationConfig
) -> tuple[dict[tuple[str, str], list[Nll]], dict[str, str]]:
    """Negative log-likelihoods of all passages under all models.

    Returns:
        By model and split, in the order of the split's passages; and per model what of a batch does not hold for it.
    """
    rows = _run(Scorer, models, list(batches(encoded, config)), "passages", config)
    found: dict[tuple[str, str], dict[int, Nll]] = {}
    limits: dict[str, str] = {}
    for row in rows:
        found.setdefault((row["model"], row["split"]), {})[row["number"]] = row["nll"], row["predicted"]
        if row["limits"] and row["model"] not in limits:
            limits[row["model"]] = row["limits"]
            log.warning("%s model: %s", row["model"], row["limits"])
    return {key: [by_number[n] for n in range(len(by_number))] for key, by_number in found.items()}, limits


def complete(models: Mapping[str, Contender], prompts: list[str], config: EvaluationConfig) -> dict[str, list[str]]:
    """The most probable completion of each prompt under all models, at most ``max_new_tokens`` long, by model.

    Each prompt is a batch of its own: what a model answers does not depend on what else it is asked.
    """
    work = [
        pa.table({"model": [name], "number": pa.array([number], pa.int32()), "prompt": [prompt]})
        for name in models
        for number, prompt in enumerate(prompts)
    ]
    found: dict[str, dict[int, str]] = {}
    for row in _run(Completer, models, work, "completions", config):
        found.setdefault(row["model"], {})[row["number"]] = row["completion"]
    return {name: [by_number[n] for n in range(len(prompts))] for name, by_number in found.items()}


def batches(encoded: Encodings, config: EvaluationConfig) -> Iterator[pa.Table]:
    """One table (model, split, number, ids, given) per forward pass: a split's passages by length, to pad little."""
    for model, splits in encoded.items():
        for split, passages in splits.items():
            ordered = sorted(enumerate(passages), key=lambda item: len(item[1].ids), reverse=True)
            for first in range(0, len(ordered), config.batch_size):
                part = ordered[first : first + config.batch_size]
                yield pa.table(
                    {
                        "model": [model] * len(part),
                        "split": [split] * len(part),
                        "number": pa.array([number for number, _ in part], pa.int32()),
                        "ids": pa.array([passage.ids for _, passage in part], pa.list_(pa.int32())),
                        "given": pa.array([passage.given for _, passage in part], pa.int32()),
                    }
                )


class _OneModel:
    """An actor that holds the model that a batch names, and loads another one when the name changes.

    Weights are used in the precision that they are stored in, fp16 in another: its range ends at 65,504, which the
    activations of many models leave, and all that comes after is not a number.
    """

    def __init__(self, models: Mapping[str, Contender], config: EvaluationConfig) -> None:
        self._models, self._config = models, config
        self._loaded, self._model = "", None

    def _named(self, name: str) -> tuple[Any, ModelTokenizer]:
        if name != self._loaded:
            self._model = None  # freed before the next one is loaded
            self._model, self._loaded = load(self._models[name].artifact, self._config.use_gpu), name
        return self._model, self._models[name].tokenizer


class Scorer(_OneModel):
    """Scores a batch of passages."""

    def __init__(self, models: Mapping[str, Contender], config: EvaluationConfig) -> None:
        super().__init__(models, config)
        self._limits: dict[str, Limits] = {}

    def __call__(self, batch: pa.Table) -> pa.Table:
        name = batch["model"][0].as_py()
        model, tokenizer = self._named(name)
        if name not in self._limits:
            longest = self._models[name].positions or self._config.max_tokens
            self._limits[name] = scoring_limits(model, tokenizer.end_id, min(longest, self._config.max_tokens))
        limits = self._limits[name]
        ids, given = batch["ids"].to_pylist(), batch["given"].to_pylist()
        nll, predicted = zip(*passage_nll(model, ids, tokenizer.end_id, given, limits), strict=True)
        told = "; ".join(f"{trick} {why}" for trick, why in limits.told().items())
        made = {"nll": pa.array(nll), "predicted": pa.array(predicted), "limits": pa.array([told] * len(ids))}
        kept = batch.drop_columns(["ids", "given"])
        for name, values in made.items():
            kept = kept.append_column(name, values)
        return kept


class Completer(_OneModel):
    """Completes a prompt greedily."""

    def __call__(self, batch: pa.Table) -> pa.Table:
        import torch
        from transformers import GenerationConfig

        model, tokenizer = self._named(batch["model"][0].as_py())
        (ids,) = tokenizer.prompts(batch["prompt"].to_pylist())
        settings = GenerationConfig(
            do_sample=False,
            max_new_tokens=self._config.max_new_tokens,
            eos_token_id=list(tokenizer.stop_ids),
            pad_token_id=tokenizer.end_id,
        )
        given = torch.tensor([ids], device=model.device)
        # The model's own defaults (penalties, suppressed tokens) fill whatever a passed configuration leaves unset.
        model.generation_config = settings
        forget_growth(model)
        with torch.inference_mode():
            made = model.generate(input_ids=given, attention_mask=torch.ones_like(given), generation_config=settings)
        completion = tokenizer.completion(ids, tokenizer.until_stop(made[0, len(ids) :].tolist()))
        return batch.drop_columns("prompt").append_column("completion", pa.array([completion]))


def load(artifact: Artifact, use_gpu: bool) -> Any:
    """A model in evaluation mode, in a precision that holds its activations."""
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(model_directory(artifact), dtype="auto")
    if model.dtype == torch.float16:
        model = model.to(torch.bfloat16 if use_gpu else torch.float32)
    return model.to("cuda" if use_gpu else "cpu").eval()


def _run(
    actor: Callable[..., Any],
    models: Mapping[str, Contender],
    work: list[pa.Table],
    unit: str,
    config: EvaluationConfig,
) -> Iterator[dict[str, Any]]:
    """Rows that the pool makes of the tables. They come in their order: each actor changes its model once per model."""
    import ray

    progress = Progress("evaluate", unit, sum(table.num_rows for table in work))
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    made = ray.data.from_blocks(work).map_batches(
        actor,
        fn_constructor_args=(models, config),
        batch_format="pyarrow",
        batch_size=None,
        compute=ray.data.ActorPoolStrategy(size=config.num_actors),
        num_cpus=0 if config.use_gpu else 1,
        num_gpus=1 if config.use_gpu else 0,
    )
    batch: Any
    for batch in made.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield from batch.to_pylist()
        progress.add(batch.num_rows)
