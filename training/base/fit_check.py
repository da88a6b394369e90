"""Whether a run's settings fit its base model: sequence lengths, LoRA targets, the tokenizer. Nothing is loaded."""

import re
import warnings
from pathlib import Path
from typing import Any

from handoff.errors import ConfigError, SourceError
from handoff.model_json import read_file, read_settings
from handoff.token_facts import SPECIALS, TokenFacts, backend_of, token_facts
from handoff.tokenizer import ModelTokenizer
from training.base.model_check import quiet
from training.base.weight_files import listed
from training.config import LoraConfig
from training.export.check import AUTO_TOKENIZER_DIFFERS, token_problems

SAMPLE = "On 12/25/1999 we'd sold 2,500 of them (100 %):\n\tfür 34€, naïve café — 你好 _x=1;"  # where tokenizers differ


def refuse_targets(model: Any, lora: LoraConfig) -> str | None:
    """See that LoRA's targets are there, and that none of them is a weight that another module shares.

    An adapter on one of two tied modules changes one of them in training and both once it is merged.

    Args:
        model: on the meta device; it gets the adapters.
        lora: the configured adapters.

    Returns:
        What to mind: expert weights that ``all-linear`` leaves as they are; None where there are none.

    Raises:
        ConfigError: naming the targets, and the names that there are.
    """
    import torch
    from peft import get_peft_model
    from peft.tuners.lora import LoraLayer

    from training.worker.model import peft_config

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
    note = _experts_left(adapted) if isinstance(lora.targets, str) else None
    taken = [n for n, m in inner.named_modules() if isinstance(m, LoraLayer) and n in shared]
    if taken:
        free = [n for n in names if not any(s.rsplit(".", 1)[-1] == n for s in shared)]
        raise ConfigError(
            f"training.lora.targets: {listed(taken)} of {type(inner).__name__} shares its weight with another module "
            "(tie_word_embeddings): merging the adapter would change both. Remedy: leave it out "
            f"(there are {', '.join(free)}), set training.method to full, or give a model with untied embeddings"
        )
    return note


def _experts_left(adapted: Any) -> str | None:
    """Which expert weights have no adapters: many models keep them in one tensor, which is no linear layer."""
    from peft.tuners.lora import LoraLayer

    wrapped = {
        f"{name}.{module.parameter_name}".replace(".base_layer", "")
        for name, module in adapted.named_modules()
        if isinstance(module, LoraLayer) and hasattr(module, "parameter_name")
    }
    weights = {n.replace(".base_layer", ""): p for n, p in adapted.named_parameters() if "lora_" not in n}
    left = {n: p for n, p in weights.items() if p.dim() == 3 and "experts" in n and n not in wrapped}
    if not left:
        return None
    share = sum(p.numel() for p in left.values()) / sum(p.numel() for p in weights.values())
    kinds = listed({name.rsplit(".", 1)[-1] for name in left})
    return (
        f"all-linear adapts no experts of {type(adapted.get_base_model()).__name__}: {kinds} are no linear layers ({share:.0%} of "
        "the weights) and stay as they are"
    )


def check_tokenizer(directory: Path) -> str | None:
    """See that a directory's tokenizer loads without code of its own, is a fast one, and fits the model.

    Args:
        directory: of the model.

    Returns:
        What to mind: that AutoTokenizer makes other tokens than ``tokenizer.json``, or takes others for its special ones;
        None where it does not.

    Raises:
        SourceError: one of its files is damaged, or it does not load.
        ConfigError: as :meth:`handoff.tokenizer.ModelTokenizer.of_directory`; its files say something else to
            transformers than to :mod:`handoff.token_facts`.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    learnt = ModelTokenizer.of_directory(directory)
    facts = token_facts(str(directory), lambda name: read_file(directory / name))
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=False)
            plain = PreTrainedTokenizerFast.from_pretrained(directory)
    except Exception as error:  # whatever a tokenizer class says of its files
        file = directory / "tokenizer_config.json"
        own = "auto_map" in read_settings(file)
        cause = "it needs code of its own (auto_map), which is never run here" if own else _first(error)
        raise SourceError(
            f"the tokenizer of {directory} does not load: {cause}. Remedy: give a model whose tokenizer transformers has"
            + (f", or take auto_map out of {file.name} where tokenizer_class names such a class" if own else "")
        ) from None
    if not tokenizer.is_fast:
        raise SourceError(
            f"the tokenizer of {directory} is {type(tokenizer).__name__}, no fast one. Remedy: save a fast tokenizer there"
        )
    if others := _fact_problems(plain, facts, learnt):
        raise ConfigError(
            f"transformers reads the tokenizer of {directory} otherwise than Baton: {'; '.join(others)}. Remedy: save it anew "
            "(PreTrainedTokenizerFast.from_pretrained(DIR).save_pretrained(DIR)), and see that its files agree"
        )
    if others := _fact_problems(tokenizer, facts, learnt):
        return f"{AUTO_TOKENIZER_DIFFERS} ({'; '.join(others)})"
    return None


def check_generation_settings(directory: Path) -> None:
    """See that transformers takes a directory's ``generation_config.json``. Raises SourceError."""
    from transformers import GenerationConfig

    file = directory / "generation_config.json"
    if not read_settings(file):
        return
    try:
        with quiet():
            GenerationConfig.from_pretrained(directory)
    except Exception as error:  # whatever its checks say of the values
        raise SourceError(
            f"transformers takes no {file}: {_first(error)}. Remedy: correct it, or remove it: its sampling settings are not used"
        ) from None


def _fact_problems(tokenizer: Any, facts: TokenFacts, learnt: ModelTokenizer) -> list[str]:
    """What a transformers tokenizer makes of a text with every added token in it, and which tokens it takes for its special ones."""
    added = backend_of(facts.definition).get_added_tokens_decoder().values()
    sample = f"{SAMPLE} " + " a".join(token.content for token in added)
    problems = [
        f"its {name} is {found!r}, the files say {text!r}"
        for name, text in facts.specials.items()
        if name in SPECIALS and (found := getattr(tokenizer, name)) != text
    ]
    for text in (SAMPLE, sample):
        row = {"text": text, "ids": learnt.texts([text], end=True)[0], "prompt_tokens": 0}
        if token_problems(tokenizer, [row], learnt):
            return [*problems, f"it makes other tokens of {text[:40]!r}"]
    return problems


def _first(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().split(chr(10))[0]}"
