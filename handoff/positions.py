"""How long a sequence a model takes, and whether the configured lengths fit."""

from collections.abc import Mapping
from typing import Any

from handoff.errors import ConfigError

# The longest sequence that a model was built for, by the names that configurations give it.
POSITIONS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length", "seq_length")


# Types that begin at padding_idx + 1, of all of AutoModelForCausalLM (transformers 5.23, tried one by one).
AFTER_PADDING = (
    "camembert", "data2vec-text", "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
)  # fmt: skip


def first_position(settings: Mapping[str, Any]) -> int:
    """Position that a model gives the first token of a text, from its ``config.json``."""
    if settings.get("model_type") not in AFTER_PADDING:
        return 0
    padding = settings.get("pad_token_id", 1)  # RoBERTa's own, where config.json leaves it out
    return 0 if padding is None else int(padding) + 1


def positions_of(settings: Mapping[str, Any]) -> int | None:
    """Longest sequence that a model takes, in tokens, from its ``config.json``; None where it does not say (or has no limit)."""
    inner = settings.get("text_config")
    settings = inner if isinstance(inner, Mapping) else settings
    found = next((int(settings[n]) for n in POSITIONS if isinstance(settings.get(n), int) and settings[n] > 0), None)
    scaling = settings.get("rope_parameters") or settings.get("rope_scaling")
    if found and isinstance(scaling, Mapping):
        factor, original = scaling.get("factor"), scaling.get("original_max_position_embeddings")
        if isinstance(factor, int | float) and isinstance(original, int):
            return max(found, int(factor * original))
    return found - first_position(settings) if found else found


def refuse_too_long(settings: Mapping[str, Any], lengths: Mapping[str, int]) -> None:
    """See that every configured length is within the model's positions.

    Args:
        settings: ``config.json``.
        lengths: tokens by the key that sets them, such as ``training.seq_len``.

    Raises:
        ConfigError: naming each that is longer.
    """
    positions = positions_of(settings)
    if positions is None:
        return
    if over := {key: length for key, length in lengths.items() if length > positions}:
        raise ConfigError(
            f"the model has {positions:,} positions, and {', '.join(f'{k} is {v:,}' for k, v in over.items())}. "
            f"Remedy: lower {' and '.join(over)}, or choose a model of longer sequences"
        )


def completion_length(max_new_tokens: int) -> dict[str, int]:
    """What :func:`refuse_too_long` is to know of inference: a completion follows a prompt of one token or more."""
    return {"inference.max_new_tokens (and a prompt)": max_new_tokens + 1}
