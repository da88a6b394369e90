"""The base model's tokenizer as a small value that travels to CPU tasks: no transformers, no torch needed to use it."""

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from handoff.artifact import Artifact
from handoff.errors import ConfigError


@dataclass(frozen=True)
class PassageTokenizer:
    """A fast tokenizer and the token that ends a passage.

    Importing transformers takes 5 s in every worker process, the tokenizers package 0.1 s.

    Args:
        definition: text of ``tokenizer.json``.
        eos_id: appended to each passage in training.
    """

    definition: str
    eos_id: int

    @classmethod
    def of_model(cls, model: Artifact) -> "PassageTokenizer":
        """Read the tokenizer of a model artifact.

        Raises:
            ConfigError: the model has no ``tokenizer.json``, names no end-of-sequence token, or its tokenizer makes ids
                that its vocabulary lacks.
        """
        definition = _read(model, "tokenizer.json")
        if definition is None:
            raise ConfigError(
                f"{model.id} has no tokenizer.json. Remedy: save its fast tokenizer beside the weights "
                "(AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR))"
            )
        from tokenizers import Tokenizer

        settings = json.loads(_read(model, "tokenizer_config.json") or "{}")
        token = settings.get("eos_token")
        text = token.get("content") if isinstance(token, dict) else token
        eos: Any = Tokenizer.from_str(definition).token_to_id(text) if text else None
        if eos is None:
            eos = json.loads(_read(model, "config.json") or "{}").get("eos_token_id")
        if isinstance(eos, list):
            eos = eos[0]
        if eos is None:
            raise ConfigError(
                f"{model.id} names no end-of-sequence token. Remedy: set eos_token in its tokenizer_config.json"
            )
        _check_vocabulary(model, Tokenizer.from_str(definition), int(eos))
        return cls(definition, int(eos))

    def encode(self, texts: Sequence[str], *, end: bool, whole: bool = True) -> list[list[int]]:
        """Token ids of each text.

        Args:
            texts: passages.
            end: append ``eos_id`` where the tokenizer has not.
            whole: with whatever the tokenizer itself puts around a text (such as a BOS token); not so for what goes on
                from another text.
        """
        tokenizer = _tokenizer(self.definition)
        encoded = [e.ids for e in tokenizer.encode_batch_fast(list(texts), add_special_tokens=whole)]
        if end:
            for ids in encoded:
                if not ids or ids[-1] != self.eos_id:
                    ids.append(self.eos_id)
        return encoded


def _check_vocabulary(model: Artifact, tokenizer: Any, eos: int) -> None:
    """An id beyond the embedding fails in mid-training, on a GPU without a word of why."""
    settings = json.loads(_read(model, "config.json") or "{}")
    size = settings.get("vocab_size") or settings.get("text_config", {}).get("vocab_size")
    largest, token = max(
        [*((n, t) for t, n in tokenizer.get_vocab(with_added_tokens=True).items()), (eos, "eos_token")]
    )
    if size is not None and largest >= size:
        raise ConfigError(
            f"the tokenizer of {model.id} makes the id {largest} ({token!r}), its model has a vocabulary of {size}. "
            "Remedy: give the tokenizer that the model was trained with, or resize the model's embeddings"
        )


@functools.lru_cache(maxsize=4)
def _tokenizer(definition: str) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(definition)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _read(model: Artifact, name: str) -> str | None:
    for entry in model.manifest.files:
        if entry.path.rsplit("/", 1)[-1] == name:
            return model.store.read(model.path_of(entry)).decode()
    return None
