"""Attention that stays within a document, chosen per device, and the proof of it before training begins.

transformers finds the documents of a row by positions that start again: ``sdpa`` and ``eager`` get a block-diagonal
causal mask, flash attention gets the boundaries themselves (varlen) and never computes what a mask would hide.
Varlen takes one row, so there the rows of a micro-batch are laid end to end.
"""

import inspect
from typing import Any

from handoff.errors import ConfigError
from training.config import TrainingConfig

VARLEN = "flash_attention_2"
PROBE_TOKENS = 8
# Seen: 1e-6 in fp32 where attention stays within, 0.1 and more where it crosses; bf16 rounds to 0.01.
LARGEST_DIFFERENCE = {"fp32": 1e-3, "bf16": 5e-2}


def attention_of(config: TrainingConfig) -> str | None:
    """Implementation to ask transformers for: varlen on a GPU with bf16 where flash-attn is installed, else its own choice."""
    if not (config.use_gpu and config.precision == "bf16"):
        return None
    from transformers.utils import is_flash_attn_2_available

    return VARLEN if is_flash_attn_2_available() else None


def one_row(model: Any) -> bool:
    """Whether the model's attention takes document boundaries in batches of one row only."""
    return getattr(model.config, "_attn_implementation", None) == VARLEN


def check_causal(forward: Any, model: Any, config: TrainingConfig, device: Any) -> None:
    """See that a token's logits do not depend on the tokens after it. Every rank calls it.

    Args:
        forward: the engine, or the model itself.
        model: the model inside.
        config: the training section.
        device: of the inputs.

    Raises:
        ConfigError: the model sees the tokens it is to predict, as an encoder does.
    """
    import torch

    first, second, other = _probes(model)
    difference = _difference(
        forward, model, [torch.cat([first, second]), torch.cat([first, other])], slice(PROBE_TOKENS), device
    )
    if difference > LARGEST_DIFFERENCE[config.precision]:
        raise ConfigError(
            f"{_name(model)} sees the tokens that it is to predict (logits differ by {difference:.2g}): it is an encoder. "
            "Remedy: choose a causal language model, or set is_decoder in its config.json if it was trained as one"
        )


def check_boundaries(forward: Any, model: Any, config: TrainingConfig, device: Any) -> None:
    """See that a document's logits do not depend on the one before it in its block; arguments as :func:`check_causal`.

    Raises:
        ConfigError: attention crosses the boundaries; models without position ids do (ALiBi, recurrent ones).
    """
    import torch

    remedy = "Remedy: set training.packing to padded"
    if "position_ids" not in inspect.signature(_inner(model).forward).parameters:
        raise ConfigError(
            f"{_name(model)} takes no position ids, so documents cannot be told apart in a block. {remedy}"
        )
    first, second, other = _probes(model)
    positions = torch.arange(PROBE_TOKENS).repeat(2)[None].to(device)
    difference = _difference(
        forward, model, [torch.cat([first, second]), torch.cat([other, second])], slice(PROBE_TOKENS, None), device,
        position_ids=positions,
    )  # fmt: skip
    if difference > LARGEST_DIFFERENCE[config.precision]:
        raise ConfigError(
            f"attention of {_name(model)} crosses document boundaries (logits differ by {difference:.2g}). {remedy}"
        )


def _probes(model: Any) -> tuple[Any, Any, Any]:
    """Three documents of PROBE_TOKENS tokens; no two have a token in the same place in common."""
    import torch

    n, last = PROBE_TOKENS, model.config.vocab_size - 1
    return tuple(ids.clamp(max=last) for ids in (torch.arange(n) + 1, torch.arange(n), torch.arange(n) * 2 + n))  # type: ignore[return-value]


def _difference(forward: Any, model: Any, rows: list[Any], places: slice, device: Any, **inputs: Any) -> float:
    """Largest difference of the logits of two rows at ``places``, in standard deviations of the logits."""
    import torch

    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            one, two = (
                forward(input_ids=row[None].to(device), use_cache=False, **inputs).logits[0, places].float()
                for row in rows
            )
    finally:
        model.train(training)
    return float((one - two).abs().max() / one.std())


def _inner(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _name(model: Any) -> str:
    return type(_inner(model)).__name__
