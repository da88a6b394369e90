"""The task ``score``: completions that come with the prompts → tokens; their log-probabilities → rows."""

import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from handoff import schema
from handoff.tokenizer import ModelTokenizer
from inference.config import InferenceConfig
from inference.quarantine import row_by_row

# A longer text is refused untokenised: few tokens are longer, and 10 million characters take gigabytes to tokenise.
CHARACTERS_PER_TOKEN = 64


def completion_ids(
    tokenizer: ModelTokenizer,
    prompts: Sequence[str | None],
    completions: Sequence[str | None],
    errors: Sequence[str | None],
    most: int,
) -> tuple[list[list[int] | None], list[str | None]]:
    """Token ids of completions after their prompts, as training reads pairs; no end token is added.

    Args:
        tokenizer: of the model that scores.
        prompts: rendered.
        completions: as they were given.
        errors: why a row cannot be scored; None for good ones.
        most: the longest completion in tokens.

    Returns:
        Ids, null with an error, and the errors, those of the completions among them.
    """
    found = [why or _unfit(text, most) for text, why in zip(completions, errors, strict=True)]
    pairs = [(prompt or "", text or "") for prompt, text in zip(prompts, completions, strict=True)]
    made, found = row_by_row(
        lambda some: tokenizer.pairs(*map(list, zip(*some, strict=True)), end=False),
        pairs,
        found,
        "the tokenizer fails",
    )
    ids: list[list[int] | None] = []
    for n, (whole, at) in enumerate(pair or ([], 0) for pair in made):
        if found[n] is None and len(whole) == at:
            found[n] = "the completion has no token that the tokenizer knows"
        elif found[n] is None and len(whole) - at > most:
            found[n] = f"the completion has {len(whole) - at} tokens, the limit is {most} (max_new_tokens)"
        ids.append(None if found[n] else whole[at:])
    return ids, found


def _unfit(completion: str | None, most: int) -> str | None:
    if not completion:
        return "the completion is empty"
    if len(completion) > most * CHARACTERS_PER_TOKEN:
        return f"the completion has {len(completion)} characters, more than {CHARACTERS_PER_TOKEN} for each token of the limit"
    return None


def finish_scores(batch: pa.Table, config: InferenceConfig) -> pa.Table:
    """Rows of ``handoff.schema.SCORES`` and the carried columns, one per prompt, of what the model stage returns."""
    answers = [answers[0] if answers else None for answers in batch["answers"].to_pylist()]
    values: dict[str, list[Any]] = {
        "log_likelihood": [math.fsum(a["logprobs"]) if a else None for a in answers],
        "baseline_log_likelihood": [None] * len(answers),
        "completion_tokens": [len(a["token_ids"]) if a else 0 for a in answers],
        "logprobs": [a["logprobs"] if a and config.logprobs else None for a in answers],
    }
    declared = schema.with_columns(schema.SCORES, [batch.schema.field(name) for name in config.carry])
    columns = [pa.array(values[f.name], f.type) if f.name in values else batch[f.name] for f in declared]
    return pa.table(columns, schema=declared)
