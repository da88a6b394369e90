"""Whether a row comes out in a batch as it does alone: rows to try, how close is equal, and what a model is not put through.

Each engine tries what it does with batches on the model itself, once, when it has loaded it. What does not hold for a
model is left out for it, from the length on at which it fails.
"""

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Trick = Literal["cache", "together", "padding", "leaving", "prefix"]

# What a model loses without a trick.
COSTS: dict[Trick, str] = {
    "cache": "every step reads the whole text again",
    "together": "rows are computed one by one",
    "padding": "only rows of equal length are computed together",
    "leaving": "ended rows are computed until the last row of their batch ends",
    "prefix": "first tokens in common are computed for each row",
}
STEPS = 4  # of an answer to try
LENGTHS = (8, 12, 24)  # tokens of the rows to try, those of the answer among them
PAST = 8  # tokens that a prompt stands past a length at which a model changes
COMMON = 3  # first tokens that all these rows have
# Root mean square of a difference of logits, in their standard deviation, that is still rounding (docs/model-families.md
# has what was seen), and the share of a row's steps that must keep to it. In 16 bits an expert or a near tie may flip.
ROUNDING = {"float32": (1e-4, 1.0), "bfloat16": (5e-2, 0.5), "float16": (1e-2, 0.5)}
# Operations that trying one more length may take, by the kind of device: some seconds.
AFFORDED = {"cpu": 2e12, "cuda": 1e15}
COPIED = {"cpu": 2**31, "cuda": 2**34}  # bytes of a float32 copy of 16-bit weights, made to try them
PASSES = 12  # over the longest row, which trying one length takes


@dataclass(frozen=True)
class Limits:
    """Up to which length a model is put through each trick.

    Attributes:
        longest: tokens of prompt and answer together up to which a trick is used, 0: never; of others there is no limit.
        why: of each trick in ``longest``, what was found.
    """

    longest: Mapping[Trick, int] = field(default_factory=dict)
    why: Mapping[Trick, str] = field(default_factory=dict)

    def allow(self, trick: Trick, tokens: int) -> bool:
        """Whether a trick is used on rows of up to so many tokens."""
        return tokens <= self.longest.get(trick, tokens)

    def limited(self, tricks: Sequence[Trick], tokens: int, why: str) -> "Limits":
        """These limits, with tricks that have none so far used up to ``tokens`` only."""
        new: list[Trick] = [trick for trick in tricks if trick not in self.longest]
        return Limits({**self.longest, **dict.fromkeys(new, tokens)}, {**self.why, **dict.fromkeys(new, why)})

    def parts(self, tokens: Sequence[int]) -> list[list[int]]:
        """Rows that may be computed together: indexes into ``tokens`` (of each row in all), each once."""
        parts: dict[Any, list[int]] = {}
        for index, length in enumerate(tokens):
            if not self.allow("together", length):
                key: Any = ("alone", index)
            else:
                key = "padded" if self.allow("padding", length) else length
            parts.setdefault(key, []).append(index)
        return list(parts.values())

    def told(self) -> dict[str, str]:
        """Of each trick that is left out: from where on, why, and what it costs."""
        return {
            trick: f"{f'past {tokens:,} tokens' if tokens else 'left out'}: {self.why[trick]}; {COSTS[trick]}"
            for trick, tokens in self.longest.items()
        }


def rows_of(settings: Any, lengths: Sequence[int], common: int = COMMON) -> list[list[int]]:
    """Token ids of rows of these lengths, always the same: words of the vocabulary, no token that the settings name."""
    text = settings.get_text_config()
    ends = [value for part in (settings, text) for name, value in vars(part).items() if name.endswith("_token_id")]
    named = {token for value in ends for token in (value if isinstance(value, list) else [value])}
    draw = random.Random(0)
    words = [n for n in (draw.randrange(text.vocab_size) for _ in range(max(lengths) * 4 + 64)) if n not in named]
    first = words[:common]
    return [first + [draw.choice(words) for _ in range(length - common)] for length in lengths]


def edges_of(settings: Any, longest: int) -> dict[int, bool]:
    """Lengths below ``longest`` at which a model changes, by its configuration, in order: windows of attention, and (true)
    where the scale of its rotary positions switches with the longest row of a batch.
    """
    found: set[int] = set()

    def look(part: Mapping[str, Any], position_limit: int | None) -> None:
        limit = part.get("max_position_embeddings", position_limit)
        for name, value in part.items():
            if isinstance(value, Mapping):
                look(value, limit)
            elif isinstance(value, int) and value > 1 and name in WINDOWS:
                found.add(value)
        if (part.get("rope_type") or part.get("type")) in ("longrope", "dynamic"):
            switches.add(part.get("original_max_position_embeddings") or limit or 0)

    switches: set[int] = set()
    look(settings.to_dict(), None)
    edges = found | switches
    return {edge: edge in switches for edge in sorted(edges) if max(LENGTHS) < edge < longest}


WINDOWS = frozenset(
    (
        "sliding_window",
        "window_size",
        "attention_window_size",
        "attention_chunk_size",
        "local_attention",
        "sliding_window_size",
    )
)


def affordable(model: Any, tokens: int) -> bool:
    """Whether rows of so many tokens may be tried: a few seconds of the device."""
    kind = "cuda" if model.device.type == "cuda" else "cpu"
    return 2.0 * sum(p.numel() for p in model.parameters()) * tokens * PASSES <= AFFORDED[kind]


@contextlib.contextmanager
def in_float32(model: Any) -> Iterator[None]:
    """The model with 16-bit weights as float32, where there is room for the copy and it is not split: what a trick changes stands out from
    rounding there, which in 16 bits hides small changes and looks like one in deep models.
    """
    import torch

    narrow = [t for t in (*model.parameters(), *model.buffers()) if t.dtype in (torch.bfloat16, torch.float16)]
    kind = "cuda" if model.device.type == "cuda" else "cpu"
    if 4 * sum(t.numel() for t in narrow) > COPIED[kind] or any(type(t.data) is not torch.Tensor for t in narrow):
        narrow = []
    own = [t.data for t in narrow]
    try:
        for tensor in narrow:
            tensor.data = tensor.data.float()
        yield
    finally:
        for tensor, data in zip(narrow, own, strict=True):
            tensor.data = data


def over_lengths(
    model: Any, longest: int, try_rows: Callable[[Sequence[int], Limits, int], Limits], batching: Sequence[Trick]
) -> Limits:
    """Try short rows, and rows past each length at which the model changes.

    Args:
        model: a transformers causal language model.
        longest: tokens of the longest row that can come.
        try_rows: takes lengths, the limits so far and the limit of what fails; returns the limits with that.
        batching: what is left out past a length that cannot be tried in reasonable time.
    """
    with in_float32(model):
        return _over_lengths(model, longest, try_rows, batching)


def _over_lengths(
    model: Any, longest: int, try_rows: Callable[[Sequence[int], Limits, int], Limits], batching: Sequence[Trick]
) -> Limits:
    least = COMMON + 1 + STEPS
    fitting = [max(least, min(length, longest)) for length in LENGTHS]
    found = try_rows(fitting, Limits(), 0)
    for edge, switch in edges_of(model.config, longest).items():
        if switch:  # in 16 bits its rounding may hide it
            found = found.limited(
                ["padding", "prefix"], edge, "the longest row of a batch switches the positions of all"
            )
        if not affordable(model, edge):
            return found.limited(batching, edge, f"the model changes at {edge:,} tokens, too many to be tried")
        found = try_rows([*fitting[:2], min(edge + PAST + STEPS, longest)], found, edge)
    return found


def same(found: Sequence[Any], expected: Sequence[Any], dtype: str) -> bool:
    """Whether one row's logits, [vocabulary] for each step, are those expected, within the rounding of a dtype, and so
    the greedy tokens, where the two best are further apart than that.
    """
    most, share = ROUNDING[dtype]
    good = 0
    for one, other in zip(found, expected, strict=True):
        one, other = one.float(), other.float()
        scale = other[other.isfinite()].std().nan_to_num()
        alike = (one == other) | (one.isnan() & other.isnan())  # infinite ones are masked words
        close = (one - other).masked_fill(alike, 0.0).square().mean().sqrt() <= most * scale
        chosen = one.argmax() == other.argmax() or other.max() - other[one.argmax()] <= 10 * most * scale
        good += bool(close and chosen)
    return good >= share * len(expected)
