"""A base model is looked into before it is loaded: its files' headers against the class that its config makes.

The class is built on torch's meta device and loads tensors without content, by transformers' own rules: renamed keys,
fused experts, tied weights, buffers. Nothing of the weights is read, so it takes seconds whatever the model's size.
"""

import contextlib
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from handoff.errors import SourceError
from handoff.model_json import read_settings
from training.base.weight_files import Tensor, listed

# Causal-mask and position buffers that older versions of transformers saved; the classes of today compute them.
OLD_BUFFERS = re.compile(r"(attn|attention)\.(masked_bias|bias)$|rotary_emb\.inv_freq$|(^|\.)position_ids$")
QUANTISED_KEY = re.compile(r"\.(qweight|qzeros|g_idx|SCB|absmax|quant_state\..+|weight_packed|weight_scale(_inv)?)$")
FLOATS = ("F16", "BF16", "F32", "F64")
# What a wrapper put before every name, and how to save without it.
WRAPPERS = {
    "_orig_mod.": "the weights of a torch.compile wrapper: save its _orig_mod",
    "module.": "the weights of a DataParallel or DeepSpeed wrapper: save its module",
    "base_model.model.": "the weights of a PEFT wrapper: save what its merge_and_unload() returns",
    "_fsdp_wrapped_module.": "the weights of an FSDP wrapper: gather its full state dict",
}
CHOOSE = "Remedy: choose another base model"
# Of all families of AutoModelForCausalLM (tried one by one): no setting makes these causal; these are, whatever is_decoder says.
BIDIRECTIONAL, CAUSAL = ("xlnet", "cpmant"), ("gpt_neox", "gpt_neox_japanese")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """transformers' own reports are left out: what is wrong is told by the error."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()


def refuse_by_settings(settings: Mapping[str, Any], where: str) -> None:
    """See that a ``config.json`` is of weights that can be trained as they are. Raises SourceError."""
    if how := settings.get("quantization_config") or settings.get("compression_config"):
        kind = how.get("quant_method", "unknown method") if isinstance(how, Mapping) else how
        raise SourceError(_quantised(where, f"quantization_config, {kind}"))


def _quantised(where: str, sign: str) -> str:
    return (
        f"the weights of {where} are quantised ({sign}), and training would not change them rightly. Remedy: give the model "
        "that they were made from, in bf16, fp16 or fp32"
    )


def make_model(directory: Path) -> Any:
    """The causal language model of a directory's ``config.json`` on the meta device: names and shapes without memory.

    Raises:
        SourceError: transformers has no such model without code of the model's own, or the model sees what follows.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with quiet(), torch.device("meta"):
        try:
            config = AutoConfig.from_pretrained(directory, trust_remote_code=False)
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        except Exception as error:  # whatever a configuration class says of its values
            raise SourceError(_unknown(directory, error)) from None
    refuse_encoder(model, str(directory))
    return model


def _unknown(directory: Path, error: Exception) -> str:
    import transformers

    settings = read_settings(directory / "config.json")
    kind, version = settings.get("model_type"), transformers.__version__
    if settings.get("auto_map"):
        return (
            f"{directory} needs code of its own (auto_map in config.json), which is never run here; transformers {version} "
            f"has no model_type {kind!r}. {CHOOSE}"
        )
    first = re.split(r"\n|\. ", str(error).strip())[0].removesuffix(".")
    return (
        f"transformers {version} makes no causal language model of {directory}/config.json with model_type {kind!r}: "
        f"{first}. {CHOOSE}, or correct config.json"
    )


def refuse_encoder(model: Any, where: str) -> None:
    """See that each position of a model sees none after it: encoders have decoder-looking classes too (BertLMHeadModel).

    Raises:
        SourceError: it is one.
    """
    config, name = model.config, type(model).__name__
    encoder = getattr(config, "is_decoder", True) is False and config.model_type not in CAUSAL
    if encoder or config.model_type in BIDIRECTIONAL or (config.model_type == "xlm" and not config.causal):
        raise SourceError(
            f"{name} of {where} is an encoder: each token sees those after it, so next-token training would only teach "
            f"it to copy them. {CHOOSE}"
            + (" (one that was trained as a decoder has is_decoder true in config.json)" if encoder else "")
        )


def compare(model: Any, tensors: Mapping[str, Tensor], where: str) -> None:
    """See that a model's files hold exactly its weights.

    Args:
        model: from :func:`make_model`.
        tensors: of all its files.
        where: the model's name in messages.

    Raises:
        SourceError: naming tensors that are missing, unexpected or of another shape.
    """
    import torch
    from transformers.modeling_utils import str_to_torch_dtype

    refuse_quantised(tensors, where)
    state = {
        name: torch.empty(t.shape, dtype=str_to_torch_dtype.get(t.dtype, torch.float32), device="meta")
        for name, t in tensors.items()
    }
    try:
        with quiet():
            _, info = type(model).from_pretrained(
                None, config=model.config, state_dict=state, device_map="meta", dtype=torch.float32,
                output_loading_info=True, ignore_mismatched_sizes=True,
            )  # fmt: skip
    except RuntimeError:  # tensors of several files become one (fused experts), and one of them does not fit
        info = _differences(model, tensors)
        if not any(info.values()):
            raise
    refuse_differences(info, where)


def _differences(model: Any, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """What is missing, unexpected or of another shape by the names that files have."""
    from transformers.core_model_loading import revert_weight_conversion

    expected = {name: tuple(t.shape) for name, t in revert_weight_conversion(model, model.state_dict()).items()}
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    other = {(n, tensors[n].shape, s) for n, s in expected.items() if n in tensors and tensors[n].shape != s}
    return {
        "missing_keys": expected.keys() - tensors.keys() - tied,
        "unexpected_keys": tensors.keys() - expected.keys(),
        "mismatched_keys": other,
    }


def refuse_quantised(tensors: Mapping[str, Tensor], where: str) -> None:
    """See that the weights are plain floats. Raises SourceError."""
    signs = [n for n, t in tensors.items() if QUANTISED_KEY.search(n) or t.dtype.startswith("F8")]
    signs += [n for n, t in tensors.items() if n.endswith("weight") and t.dtype not in FLOATS and len(t.shape) > 1]
    if signs:
        name = min(signs)
        raise SourceError(_quantised(where, f"{name} of type {tensors[name].dtype}"))


def refuse_differences(info: Mapping[str, Collection[Any]], where: str) -> None:
    """See that loading found each weight and no other.

    Args:
        info: of ``from_pretrained(output_loading_info=True)``.
        where: the model's name in messages.

    Raises:
        SourceError: naming keys that are missing, unexpected or of another shape.
    """
    missing = set(info["missing_keys"])
    unexpected = {key for key in info["unexpected_keys"] if not OLD_BUFFERS.search(key)}
    other_shape = {f"{key} {tuple(file)} for {tuple(model)}" for key, file, model in info["mismatched_keys"]}
    problems = [
        f"{what} ({listed(keys)})"
        for what, keys in (
            (f"lack {len(missing)} of the model's", missing),
            (f"hold {len(unexpected)} that the model has not", unexpected),
            (f"hold {len(other_shape)} of another shape", other_shape),
        )
        if keys
    ]
    problems += [str(message).strip().split("\n")[0] for message in info.get("error_msgs", ())]
    if not problems:
        return
    wrapped = next((w for w in WRAPPERS if any(key.startswith(w) for key in unexpected)), None)
    remedy = (
        f"these are {WRAPPERS[wrapped]}, or take {wrapped!r} off the names"
        if wrapped
        else "fetch the model again, or give it the config.json that it was saved with"
    )
    raise SourceError(
        f"the weights of {where} are not those of its config.json: they {'; they '.join(problems)}. "
        f"{'What is missing would be trained from random values. ' if missing else ''}Remedy: {remedy}"
    )


def count_parameters(model: Any) -> int:
    """Parameters of a model, tied ones once."""
    return sum(p.numel() for p in model.parameters())
