"""Log-likelihood of tokens under a causal language model: what evaluation and scoring share."""

from collections.abc import Sequence
from typing import Any


def token_logprobs(
    model: Any, sequences: Sequence[Sequence[int]], pad_id: int, given: Sequence[int] | None = None
) -> list[list[float]]:
    """Natural log-probability of each token of each sequence, from its second one on, or after those that are given.

    The first token has no context, and what to put before it differs between models: it is given, not predicted.
    (Where a tokenizer adds a BOS token of its own, that is the first token, and all of the text is predicted.)

    Args:
        model: a transformers causal language model in evaluation mode.
        sequences: token ids, each of at least one token.
        pad_id: any token of the vocabulary; padded places count neither as context nor as target.
        given: how many of each sequence's first tokens are context; one each where left out.

    Returns:
        For each sequence as many values as tokens are predicted.
    """
    import torch

    longest = max(map(len, sequences))
    ids = torch.full((len(sequences), longest), pad_id)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.as_tensor(sequence)
        mask[row, : len(sequence)] = 1
    ids, mask = ids.to(model.device), mask.to(model.device)
    with torch.inference_mode():
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        nll = torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2).float(), ids[:, 1:], reduction="none")
    first = [max(number, 1) for number in given] if given else [1] * len(sequences)
    return [
        [-value for value in row[start - 1 : len(sequence) - 1]]
        for row, sequence, start in zip(nll.tolist(), sequences, first, strict=True)
    ]
