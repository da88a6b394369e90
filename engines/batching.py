"""Which rows of a window are computed together."""

from collections.abc import Sequence

from engines.alone import Limits


def by_budget(lengths: Sequence[int], new_tokens: int, budget: int, limits: Limits) -> list[list[int]]:
    """Batches of rows of like length, each within a token budget, the longest rows first.

    A batch takes as much memory as its rows would if all were as long as its longest one: prompts are padded to it, and
    each may get the longest answer. A row that exceeds the budget by itself is a batch of its own.

    Args:
        lengths: tokens of each prompt.
        new_tokens: longest answer.
        budget: tokens of a batch, padding included.
        limits: which rows the model may be given together.

    Returns:
        Indexes into ``lengths``, each once.
    """
    batches: list[list[int]] = []
    for part in limits.parts([length + new_tokens for length in lengths]):
        room = 0
        for index in sorted(part, key=lambda i: lengths[i], reverse=True):
            if room == 0:  # the longest row of a new batch
                batches.append([])
                room = max(1, budget // (lengths[index] + new_tokens))
            batches[-1].append(index)
            room -= 1
    return batches


def shared_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """How many first tokens all prompts have in common, leaving each at least one token of its own."""
    ordered = sorted(map(list, prompts))
    first, last = ordered[0], ordered[-1]  # of sorted sequences these two differ first
    common = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return min(common, min(map(len, prompts)) - 1)
