"""Log-likelihood of tokens under a causal language model: what evaluation and scoring share."""

from collections.abc import Sequence
from typing import Any

from engines.alone import Limits, over_lengths, rows_of, same
from engines.batching import by_budget

LOGITS = 2**27  # of one forward pass: 0.5 GB in fp32
CHUNK = 2**24  # of them whose log-probabilities are computed at a time


def token_logprobs(
    model: Any,
    sequences: Sequence[Sequence[int]],
    pad_id: int,
    given: Sequence[int] | None = None,
    limits: Limits | None = None,
) -> list[list[float]]:
    """Natural log-probability of each token of each sequence, from its second one on, or after those that are given.

    The first token has no context, and what to put before it differs between models: it is given, not predicted.
    (Where a tokenizer adds a BOS token of its own, that is the first token, and all of the text is predicted.)

    As many rows go through the model at a time as ``LOGITS`` has room for, at least one: memory grows with the longest
    row and the vocabulary, not with the number of rows.

    Args:
        model: a transformers causal language model in evaluation mode.
        sequences: token ids, each of at least one token.
        pad_id: any token of the vocabulary; padded places count neither as context nor as target.
        given: how many of each sequence's first tokens are context; one each where left out.
        limits: which rows may be computed together, of :func:`scoring_limits`; any where left out.

    Returns:
        For each sequence as many values as tokens are predicted.
    """
    first = [max(number, 1) for number in given] if given else [1] * len(sequences)
    found: list[list[float]] = [[] for _ in sequences]
    room = LOGITS // model.config.get_text_config().vocab_size
    for rows in by_budget([len(ids) for ids in sequences], 0, room, limits or Limits()):
        values = _rows(model, [sequences[n] for n in rows], pad_id)
        for n, row in zip(rows, values, strict=True):
            found[n] = row[first[n] - 1 : len(sequences[n]) - 1]
    return found


def _rows(model: Any, sequences: Sequence[Sequence[int]], pad_id: int) -> list[list[float]]:
    """Log-probabilities of all tokens but the first, those of the padding after a row among them."""
    import torch

    longest = max(map(len, sequences))
    ids = torch.full((len(sequences), longest), pad_id)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.as_tensor(sequence)
        mask[row, : len(sequence)] = 1
    ids, mask = ids.to(model.device), mask.to(model.device)
    forget_growth(model)
    with torch.inference_mode():
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1].flatten(0, 1)
        targets, size = ids[:, 1:].flatten(), max(1, CHUNK // logits.shape[-1])
        parts = [
            -torch.nn.functional.cross_entropy(part.float(), aim, reduction="none")
            for part, aim in zip(logits.split(size), targets.split(size), strict=True)
        ]
    values: list[list[float]] = torch.cat(parts).view(len(sequences), longest - 1).tolist() if parts else []
    return values


def forget_growth(model: Any) -> None:
    """Take back how far rotary positions were scaled for rows before: ``dynamic`` ones (NTK) grow with the longest row, and
    transformers takes that back only at a row shorter than the model's own length.
    """
    for module in model.modules():
        own = getattr(module, "original_max_seq_len", None)
        if (
            own is not None
            and getattr(module, "max_seq_len_cached", own) > own
            and hasattr(module, "original_inv_freq")
        ):
            module.inv_freq = module.original_inv_freq.to(module.inv_freq.device)
            module.max_seq_len_cached = own


def scoring_limits(model: Any, pad_id: int, longest: int) -> Limits:
    """What of :func:`token_logprobs` does not hold for a model: a row beside longer ones, or beside any.

    Args:
        model: a transformers causal language model in evaluation mode.
        pad_id: any token of the vocabulary.
        longest: tokens of the longest row that can come.
    """
    import torch

    def scores(rows: Sequence[Sequence[int]]) -> list[list[Any]]:
        return [[torch.tensor(row)] for row in token_logprobs(model, rows, pad_id)]

    def holds(lengths: Sequence[int]) -> bool:
        rows = rows_of(model.config, lengths)
        try:
            alone, together = [scores([row])[0] for row in rows], scores(rows)
        except torch.OutOfMemoryError:
            raise
        except Exception:  # whatever a model's code says of a batch; of a row alone, its rows will say it
            return False
        dtype = str(model.dtype).removeprefix("torch.")
        return all(same(found, expected, dtype) for found, expected in zip(together, alone, strict=True))

    def try_rows(lengths: Sequence[int], limits: Limits, upto: int) -> Limits:
        if holds(lengths):
            return limits
        if holds([max(lengths)] * 2):
            return limits.limited(["padding"], upto, "a row beside a longer one comes out otherwise than alone")
        return limits.limited(["together", "padding"], upto, "a row in a batch comes out otherwise than alone")

    return over_lengths(model, longest, try_rows, ["together", "padding"])
