"""Negative log-likelihood of passages under a causal language model, and perplexity."""

import math
from collections.abc import Sequence
from typing import Any


def passage_nll(
    model: Any, passages: Sequence[Sequence[int]], pad_id: int, prompts: Sequence[int] | None = None
) -> list[tuple[float, int]]:
    """Score each passage by itself, from its second token on, or from its completion on.

    The first token has no context, and what to put before it differs between models: it is given, not predicted.
    (Where a tokenizer adds a BOS token of its own, that is the first token, and all of the text is predicted.)

    Args:
        model: a transformers causal language model in evaluation mode.
        passages: token ids, each of at least one token.
        pad_id: any token of the vocabulary; padded places count neither as context nor as target.
        prompts: how many of each passage's first tokens are given; none but the first where left out.

    Returns:
        For each passage the summed negative log-likelihood in nats and the number of predicted tokens.
    """
    import torch

    longest = max(map(len, passages))
    ids = torch.full((len(passages), longest), pad_id)
    mask = torch.zeros_like(ids)
    for row, passage in enumerate(passages):
        ids[row, : len(passage)] = torch.as_tensor(passage)
        mask[row, : len(passage)] = 1
    ids, mask = ids.to(model.device), mask.to(model.device)
    with torch.inference_mode():
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    nll = torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2).float(), ids[:, 1:], reduction="none")
    predicted = mask[:, 1:].clone()
    for row, prompt in enumerate(prompts or ()):
        predicted[row, : max(prompt - 1, 0)] = 0
    sums, counts = (nll.double() * predicted).sum(1).tolist(), predicted.sum(1).tolist()
    return list(zip(sums, counts, strict=True))


def perplexity(scores: Sequence[tuple[float, int]]) -> float:
    """exp of the mean negative log-likelihood per predicted token, over all passages (infinite past e^700, NaN where a score is).

    Raises:
        ValueError: nothing was predicted.
    """
    tokens = sum(count for _, count in scores)
    if not tokens:
        raise ValueError("no token was predicted: every passage has one token only")
    mean = sum(nll for nll, _ in scores) / tokens
    return math.exp(mean) if mean < 700 else math.inf
