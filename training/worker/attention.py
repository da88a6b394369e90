"""Attention that stays within a document, chosen per device, and a check of it before training begins.

transformers finds the documents of a row by positions that start again: ``sdpa`` and ``eager`` get a block-diagonal
causal mask, flash attention gets the boundaries themselves (varlen) and never computes what a mask would hide.
Varlen takes one row, so there the rows of a micro-batch are laid end to end.
"""

import inspect
from typing import Any

from handoff.errors import ConfigError, SourceError
from training.config import TrainingConfig
from training.worker.step import Layout

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


def layout_of(model: Any, config: TrainingConfig) -> Layout:
    """How a model takes blocks.

    Packed blocks need positions, and varlen attention takes their boundaries in batches of one row only. Padded blocks hold
    one passage each, and are given as plain use gives a text: ids alone.
    """
    if config.padded:
        return Layout(positions=False)
    return Layout(one_row=getattr(model.config, "_attn_implementation", None) == VARLEN)


def check_positions(forward: Any, model: Any, config: TrainingConfig, device: Any) -> None:
    """See that the positions that packed blocks have are those that the model counts by itself, where it is given ids alone.

    Every rank calls it; arguments as :func:`check_boundaries`.

    Raises:
        ConfigError: they are not.
    """
    import torch

    if not _takes_positions(model):
        return  # check_boundaries says so
    row = _probe_ids(model, 1)
    plain, ours = (
        _logits(forward, model, row, slice(None), device, **inputs)
        for inputs in ({}, {"position_ids": torch.arange(PROBE_TOKENS)[None].to(device)})
    )
    if (difference := _apart(plain, ours)) > LARGEST_DIFFERENCE[config.precision]:
        raise ConfigError(
            f"{type(_inner(model)).__name__} counts positions in a way of its own: numbered from 0, as in packed blocks, its "
            f"logits differ by {difference:.2g} from those of the same tokens alone. Remedy: set training.packing to padded"
        )


def check_boundaries(forward: Any, model: Any, config: TrainingConfig, device: Any) -> None:
    """See that a document's logits do not depend on the one before it in its block. Every rank calls it.

    Args:
        forward: the engine, or the model itself.
        model: the model inside.
        config: the training section.
        device: of the inputs.

    Raises:
        ConfigError: attention crosses the boundaries; models without position ids do (ALiBi, recurrent ones).
    """
    import torch

    remedy = "Remedy: set training.packing to padded"
    name = type(_inner(model)).__name__
    if not _takes_positions(model):
        raise ConfigError(f"{name} takes no position ids, so documents cannot be told apart in a block. {remedy}")
    n, second = PROBE_TOKENS, _probe_ids(model, 1)
    rows = [torch.cat([first, second]) for first in (_probe_ids(model, 2), _probe_ids(model, 3))]
    positions = torch.cat([torch.arange(n), torch.arange(n)])[None].to(device)
    difference = _difference(forward, model, rows, slice(n, None), device, position_ids=positions)
    if difference > LARGEST_DIFFERENCE[config.precision]:
        raise ConfigError(
            f"attention of {name} crosses document boundaries (logits differ by {difference:.2g}). {remedy}"
        )


def check_causal(forward: Any, model: Any, config: TrainingConfig, device: Any) -> None:
    """See that a token's logits do not depend on those after it. Every rank calls it; arguments as :func:`check_boundaries`.

    Raises:
        SourceError: they do: the model is an encoder, or its padding hides nothing.
    """
    import torch

    n, first = PROBE_TOKENS, _probe_ids(model, 1)
    rows = [torch.cat([first, after]) for after in (_probe_ids(model, 2), _probe_ids(model, 3))]
    # The inputs that check_boundaries gives: a compiled model is compiled once.
    positions = layout_of(model, config).positions and _takes_positions(model)
    inputs = {"position_ids": torch.arange(2 * n)[None].to(device)} if positions else {}
    difference = _difference(forward, model, rows, slice(None, n), device, **inputs)
    if difference > LARGEST_DIFFERENCE[config.precision]:
        raise SourceError(
            f"tokens of {type(_inner(model)).__name__} see those after them (logits differ by {difference:.2g}): next-token training "
            "would only teach it to copy them. Remedy: choose another base model"
        )


def _inner(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _takes_positions(model: Any) -> bool:
    return "position_ids" in inspect.signature(_inner(model).forward).parameters


def _probe_ids(model: Any, which: int) -> Any:
    """PROBE_TOKENS ids of the vocabulary, others for each ``which``; never the padding token, which some models take out."""
    import torch

    settings = model.config.get_text_config()
    ids = (torch.arange(PROBE_TOKENS) * which + which) % settings.vocab_size
    padding = getattr(settings, "pad_token_id", None)
    return (
        torch.where(ids == padding, (ids + PROBE_TOKENS * 4) % settings.vocab_size, ids) if padding is not None else ids
    )


def _difference(forward: Any, model: Any, rows: list[Any], part: slice, device: Any, **inputs: Any) -> float:
    """How far the logits of a part of two rows are apart."""
    return _apart(*(_logits(forward, model, row, part, device, **inputs) for row in rows))


def _apart(one: Any, other: Any) -> float:
    """The largest difference of logits, in their own standard deviation."""
    return float((one - other).abs().max() / one.std())


def _logits(forward: Any, model: Any, row: Any, part: slice, device: Any, **inputs: Any) -> Any:
    """Logits of a part of a row, float32; nothing is dropped out."""
    import torch

    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return forward(input_ids=row[None].to(device), use_cache=False, **inputs).logits[0, part].float()
    finally:
        model.train(training)
