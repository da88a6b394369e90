"""The two CPU stages around the model: text → tokens, invalid prompts marked; tokens → text, in the declared schema."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from handoff import schema
from handoff.artifact import Artifact, open_artifact
from handoff.model_files import model_directory
from handoff.store import Store
from handoff.tokenizer import ModelTokenizer
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


def render(
    batch: pa.Table, tokenizer: ModelTokenizer, template: str, max_prompt_tokens: int, positions: int | None
) -> pa.Table:
    """Put each prompt into the template and tokenise it; a prompt that cannot be answered gets an error instead.

    Args:
        batch: columns of ``prompts.PROMPTS``.
        tokenizer: of the model that answers.
        template: text with ``{prompt}`` in it.
        max_prompt_tokens: the configured limit.
        positions: tokens that the model has room for before the completion; None: no limit known.

    Returns:
        The batch with ``prompt_ids`` (list of int32, null with an error), ``prompt_tokens`` (int32), ``error`` (string).
    """
    limit, name = max_prompt_tokens, "max_prompt_tokens"
    if positions is not None and positions < limit:
        limit, name = positions, "the model's positions less max_new_tokens"
    ids: list[list[int] | None] = []
    counts: list[int] = []
    errors: list[str | None] = []
    prompts = batch["prompt"].to_pylist()
    rendered = tokenizer.prompts([template.replace("{prompt}", prompt or "") for prompt in prompts])
    for prompt, tokens in zip(prompts, rendered, strict=True):
        error = None
        if prompt is None or not prompt.strip():
            tokens, error = [], "the prompt is empty"
        elif not tokens:
            error = "the prompt has no token that the tokenizer knows"
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


def finish(batch: pa.Table, tokenizer: ModelTokenizer, baseline: dict[str, str | None]) -> pa.Table:
    """Decode the completions and give the rows their declared schema.

    Args:
        batch: what the model stage returns: ``render``'s columns, ``completion_ids`` and ``seconds``.
        tokenizer: of the model that answers.
        baseline: the base model's completion of some prompts, by id.

    Returns:
        Rows of ``handoff.schema.PREDICTIONS``, as many as came in.
    """
    rows = batch.to_pylist()
    completions = [None if r["error"] else tokenizer.completion(r["prompt_ids"], r["completion_ids"]) for r in rows]
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


def render_arguments(tokenizer: ModelTokenizer, config: InferenceConfig, positions: int | None) -> dict[str, Any]:
    """Keyword arguments of :func:`render` for a model with room for ``positions`` tokens in all."""
    return {
        "tokenizer": tokenizer,
        "template": config.template,
        "max_prompt_tokens": config.max_prompt_tokens,
        "positions": None if positions is None else positions - config.max_new_tokens,
    }
