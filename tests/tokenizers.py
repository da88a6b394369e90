"""Small tokenizers of the kinds that broke tuned models elsewhere, and models to go with them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

SPECIAL = ("<s>", "</s>", "<|im_end|>", "<ans>", "</ans>")
NUMBERS = tuple(str(n) for n in range(10, 60))


def _bpe(word_start: str) -> Any:
    """Characters, two-digit numbers as one token each, and with ``word_start`` before a digit another one."""
    from tokenizers import Tokenizer, models

    characters = [*"0123456789+=?: QA", word_start]
    starts = [word_start + c for c in "0123456789Q"]
    words = dict.fromkeys([*SPECIAL, *characters, *starts, *NUMBERS])
    merges = [(word_start, c) for c in "0123456789Q"] + [(n[0], n[1]) for n in NUMBERS]
    tokenizer = Tokenizer(models.BPE(vocab={word: n for n, word in enumerate(words)}, merges=merges))
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def digits() -> Any:
    """Numbers of up to three digits in one piece, where Qwen2's own pre-tokenizer takes them digit by digit."""
    from tokenizers import Regex, decoders, pre_tokenizers

    tokenizer = _bpe("Ġ")
    split = pre_tokenizers.Split(Regex(r"\p{N}{1,3}"), "isolated")
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def metaspace() -> Any:
    """As Llama's: a space before the first word of every text."""
    from tokenizers import decoders, pre_tokenizers

    tokenizer = _bpe("▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    return tokenizer


def llama2() -> Any:
    """As Llama 2's: a space before every part of a text between special tokens."""
    from tokenizers import decoders, normalizers

    tokenizer = _bpe("▁")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return tokenizer


def appending() -> Any:
    """Puts BOS before and EOS behind every text."""
    from tokenizers import processors

    tokenizer = digits()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A $B </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return tokenizer


TOKENIZERS: dict[str, Callable[[], Any]] = {"digits": digits, "metaspace": metaspace, "appending": appending}


def write_model(
    directory: Path, tokenizer: Any, *, eos: str = "</s>", config_eos: int = 1, tied: bool = False, seed: int = 0
) -> Path:
    """A Hugging Face directory with a two-layer Qwen2 of random weights and this tokenizer.

    Args:
        eos: the end token that the tokenizer's settings name.
        config_eos: the one that the model's settings name.
        tied: embeddings and output layer share their weights.
    """
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(seed)
    Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=tokenizer.get_vocab_size(), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128, bos_token_id=0,
            eos_token_id=config_eos, tie_word_embeddings=tied,
        )
    ).save_pretrained(directory)  # fmt: skip
    return write_tokenizer(directory, tokenizer, eos)


def write_tokenizer(directory: Path, tokenizer: Any, eos: str = "</s>") -> Path:
    """The tokenizer's files, as they come with a model of any class."""
    from transformers import PreTrainedTokenizerFast

    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=eos).save_pretrained(directory)
    settings = json.loads((directory / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "PreTrainedTokenizerFast"}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory


def sums(count: int = 20, answer: str = "{}") -> tuple[list[str], list[str]]:
    """Prompts such as ``12+13=`` and their completions."""
    numbers = [(10 + n, 10 + (3 * n) % 17) for n in range(count)]
    return [f"{a}+{b}=" for a, b in numbers], [answer.format(a + b) for a, b in numbers]
