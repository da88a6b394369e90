"""Negative log-likelihood of passages under a causal language model, and perplexity."""

import math
from collections.abc import Sequence
from typing import Any

from engines.alone import Limits
from engines.likelihood import token_logprobs


def passage_nll(
    model: Any,
    passages: Sequence[Sequence[int]],
    pad_id: int,
    prompts: Sequence[int] | None = None,
    limits: Limits | None = None,
) -> list[tuple[float, int]]:
    """Score each passage by itself, from its second token on, or from its completion on.

    Args:
        model, passages, pad_id, limits: as :func:`engines.likelihood.token_logprobs` has them.
        prompts: how many of each passage's first tokens are given; none but the first where left out.

    Returns:
        For each passage the summed negative log-likelihood in nats and the number of predicted tokens.
    """
    rows = token_logprobs(model, passages, pad_id, prompts, limits)
    return [(-math.fsum(row), len(row)) for row in rows]


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


def bits_per_byte(nll: float, size: int) -> float:
    """Bits per UTF-8 byte of the text that was predicted: comparable between models of different tokenizers.

    Args:
        nll: summed negative log-likelihood in nats.
        size: bytes of that text.

    Raises:
        ValueError: nothing was predicted.
    """
    if not size:
        raise ValueError("no byte was predicted: every passage has one token only")
    return nll / math.log(2) / size
