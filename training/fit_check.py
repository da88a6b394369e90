"""Whether a run's settings fit its base model: sequence lengths, LoRA targets, the tokenizer. Nothing is loaded."""

import json
import re
import warnings
from pathlib import Path
from typing import Any

from handoff.errors import BatonError, ConfigError, SourceError
from handoff.tokenizer import ModelTokenizer
from training.config import LoraConfig
from training.export_check import AUTO_TOKENIZER_DIFFERS, token_problems
from training.model_check import quiet
from training.weight_files import listed, refuse_pointer

SAMPLE = "On 12/25/1999 we'd sold 2,500 of them (100 %):\n\tfür 34€, naïve café — 你好 _x=1;"  # where tokenizers differ


def refuse_targets(model: Any, lora: LoraConfig) -> None:
    """See that LoRA's targets are there, and that none of them is a weight that another module shares.

    An adapter on one of two tied modules changes one of them in training and both once it is merged.

    Args:
        model: on the meta device; it gets the adapters.
        lora: the configured adapters.

    Raises:
        ConfigError: naming the targets, and the names that there are.
    """
    import torch
    from peft import get_peft_model
    from peft.tuners.lora import LoraLayer

    from training.model import peft_config

    linear = {n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) or type(m).__name__ == "Conv1D"}
    names = sorted({name.rsplit(".", 1)[-1] for name in linear})
    every = [name for name, _ in model.named_modules()]
    if not isinstance(lora.targets, str):
        absent = [t for t in lora.targets if not any(n == t or n.endswith(f".{t}") for n in every)]
        if absent:
            raise ConfigError(
                f"training.lora.targets: {type(model).__name__} has no module {', '.join(absent)}. "
                f"Remedy: choose of {', '.join(names)}, or all-linear"
            )
    tied = getattr(model, "all_tied_weights_keys", None) or {}
    shared = {key.removesuffix(".weight") for pair in tied.items() for key in pair}
    try:
        with quiet(), warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")  # of tied weights, told below
            adapted = get_peft_model(model, peft_config(lora))
    except ValueError as error:
        first = re.split(r"[\n(]", str(error).strip())[0]
        raise ConfigError(
            f"training.lora.targets cannot be adapted ({first}). Remedy: choose of {', '.join(names)}, or all-linear"
        ) from None
    inner = adapted.get_base_model()
    taken = [n for n, m in inner.named_modules() if isinstance(m, LoraLayer) and n in shared]
    if taken:
        free = [n for n in names if not any(s.rsplit(".", 1)[-1] == n for s in shared)]
        raise ConfigError(
            f"training.lora.targets: {listed(taken)} of {type(inner).__name__} shares its weight with another module "
            "(tie_word_embeddings): merging the adapter would change both. Remedy: leave it out "
            f"(there are {', '.join(free)}), set training.method to full, or give a model with untied embeddings"
        )


def check_tokenizer(directory: Path) -> str | None:
    """See that a directory's tokenizer loads without code of its own, is a fast one, and fits the model.

    Args:
        directory: of the model.

    Returns:
        What to mind: that AutoTokenizer makes other tokens than ``tokenizer.json``; None where it does not.

    Raises:
        SourceError: it does not load.
        ConfigError: as :meth:`handoff.tokenizer.ModelTokenizer.of_directory`.
    """
    from transformers import AutoTokenizer

    for name in ("tokenizer.json", "tokenizer_config.json"):
        if (directory / name).is_file():
            refuse_pointer(directory / name)
    try:
        learnt = ModelTokenizer.of_directory(directory)
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=False)
    except BatonError:
        raise
    except Exception as error:  # whatever a tokenizer class says of its files
        file = directory / "tokenizer_config.json"
        own = "auto_map" in (json.loads(file.read_text()) if file.is_file() else {})
        cause = "it needs code of its own (auto_map), which is never run here" if own else _first(error)
        raise SourceError(
            f"the tokenizer of {directory} does not load: {cause}. Remedy: give a model whose tokenizer transformers has"
            + (f", or take auto_map out of {file.name} where tokenizer_class names such a class" if own else "")
        ) from None
    if not tokenizer.is_fast:
        raise SourceError(
            f"the tokenizer of {directory} is {type(tokenizer).__name__}, no fast one. Remedy: save a fast tokenizer there"
        )
    row = {"text": SAMPLE, "ids": learnt.texts([SAMPLE], end=True)[0], "prompt_tokens": 0}
    return AUTO_TOKENIZER_DIFFERS if token_problems(tokenizer, [row], learnt) else None


def _first(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().split(chr(10))[0]}"
