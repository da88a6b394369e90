"""The two light stages around the model, on CPU: text → tokens, with bad prompts marked; tokens → text, as declared."""

import functools
import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from handoff import schema
from handoff.artifact import Artifact, open_artifact
from handoff.model_files import model_directory
from handoff.store import Store
from inference.config import InferenceConfig


@dataclass(frozen=True)
class ModelReference:
    """A model artifact by name: small enough to send to every worker, which finds the files on its own machine."""

    storage: str
    id: str

    @classmethod
    def of(cls, artifact: Artifact) -> "ModelReference":
        return cls(artifact.store.root, artifact.id)

    def directory(self) -> str:
        return model_directory(open_artifact(Store(self.storage), self.id))


@functools.cache  # once per worker process, however many batches pass through it
def load_tokenizer(model: ModelReference) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model.directory())


def max_positions(directory: str) -> int | None:
    """Longest sequence the model was built for, in tokens, from its ``config.json``; None where it does not say."""
    with open(f"{directory}/config.json") as file:
        config = json.load(file)
    names = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len")
    return next((int(config[n]) for n in names if config.get(n)), None)


def render(
    batch: pa.Table, model: ModelReference, template: str, max_prompt_tokens: int, positions: int | None
) -> pa.Table:
    """Put each prompt into the template and tokenise it; a prompt that cannot be answered gets an error instead.

    Args:
        batch: columns of ``prompts.PROMPTS``.
        max_prompt_tokens: the configured limit.
        positions: tokens that the model has room for before the completion; None: no limit known.

    Returns:
        The batch with ``prompt_ids`` (list of int32, null with an error), ``prompt_tokens`` (int32), ``error`` (string).
    """
    tokenizer = load_tokenizer(model)
    limit, name = max_prompt_tokens, "max_prompt_tokens"
    if positions is not None and positions < limit:
        limit, name = positions, "the model's positions less max_new_tokens"
    ids: list[list[int] | None] = []
    counts: list[int] = []
    errors: list[str | None] = []
    for prompt in batch["prompt"].to_pylist():
        blank = prompt is None or not prompt.strip()
        tokens = [] if blank else tokenizer(template.replace("{prompt}", prompt), verbose=False)["input_ids"]
        error = None
        if not tokens:
            error = "the prompt is empty"
        elif len(tokens) > limit:
            error = f"the prompt has {len(tokens)} tokens, the limit is {limit} ({name})"
        ids.append(None if error else tokens)
        counts.append(len(tokens))
        errors.append(error)
    return (
        batch.append_column("prompt_ids", pa.array(ids, pa.list_(pa.int32())))
        .append_column("prompt_tokens", pa.array(counts, pa.int32()))
        .append_column("error", pa.array(errors, pa.string()))
    )


def finish(batch: pa.Table, model: ModelReference, baseline: dict[str, str | None]) -> pa.Table:
    """Decode the completions and give the rows their declared schema.

    Args:
        batch: what the model stage returns: ``render``'s columns, ``completion_ids`` and ``seconds``.
        baseline: the base model's completion of some prompts, by id.

    Returns:
        Rows of ``handoff.schema.PREDICTIONS``, as many as came in.
    """
    tokenizer = load_tokenizer(model)
    rows = batch.to_pylist()
    completions = [
        None if r["error"] else completion_text(tokenizer, r["prompt_ids"], r["completion_ids"]) for r in rows
    ]
    return pa.table(
        {
            "id": batch["id"],
            "prompt": batch["prompt"],
            "completion": pa.array(completions, pa.string()),
            "baseline": pa.array([baseline.get(r["id"]) for r in rows], pa.string()),
            "error": batch["error"],
            "prompt_tokens": batch["prompt_tokens"],
            "completion_tokens": pa.array([len(r["completion_ids"] or ()) for r in rows], pa.int32()),
            "seconds": batch["seconds"],
            "source": batch["source"],
        },
        schema=schema.PREDICTIONS,
    )


def completion_text(tokenizer: Any, prompt_ids: list[int], completion_ids: list[int]) -> str:
    """Text of the new tokens as it follows the prompt.

    Decoded together with the prompt where that is possible: some tokenizers drop the space before the first token.
    """
    before = tokenizer.decode(prompt_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    whole = tokenizer.decode(prompt_ids + completion_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    if whole.startswith(before):
        return whole[len(before) :]
    return tokenizer.decode(completion_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def render_arguments(model: ModelReference, config: InferenceConfig, positions: int | None) -> dict[str, Any]:
    """Keyword arguments of :func:`render` for a model with room for ``positions`` tokens in all."""
    return {
        "model": model,
        "template": config.template,
        "max_prompt_tokens": config.max_prompt_tokens,
        "positions": None if positions is None else positions - config.max_new_tokens,
    }
