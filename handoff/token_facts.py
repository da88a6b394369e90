"""What the files of a model directory say of its tokens, by the rules of transformers (5.23), which reads several of them.

``tokenizer.json`` has the tokenizer. Tokens that only ``tokenizer_config.json`` (``added_tokens_decoder``), or the older
``added_tokens.json`` and ``special_tokens_map.json`` name are added to it, as ``AutoTokenizer`` does.
"""

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from handoff.errors import ConfigError, SourceError
from handoff.model_json import of_type, parse_settings, refuse_lfs, wrong

SPECIALS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
TOKEN_REMEDY = "give the text of a token, or take it out"
ID_REMEDY = "give the id of a token of the vocabulary, or take it out"
Read = Callable[[str], bytes | None]  # content of a file of a model directory; None where there is none


@dataclass(frozen=True)
class TokenFacts:
    """What a model's files say of its tokens.

    Attributes:
        definition: text of ``tokenizer.json``, with the tokens that other files add.
        specials: text of each special token that has a name (``bos_token``).
        stop_ids: tokens that end a text: the tokenizer's own first, then those of the model's settings.
        vocabulary: entries of the model's embedding; None where ``config.json`` does not say.
    """

    definition: str
    specials: dict[str, str]
    stop_ids: tuple[int, ...]
    vocabulary: int | None


def token_facts(subject: str, read: Read) -> TokenFacts:
    """Read the token facts of a model directory.

    Args:
        subject: the model's name in messages.
        read: gives the content of its files.

    Raises:
        SourceError: a file is damaged.
        ConfigError: there is no ``tokenizer.json``, or a file names tokens that cannot be; with file, key and value.
    """
    content = read("tokenizer.json")
    if content is None:
        raise ConfigError(
            f"{subject} has no tokenizer.json. Remedy: save its fast tokenizer beside the weights "
            "(AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR))"
        )
    refuse_lfs(content, f"{subject}/tokenizer.json")
    model, generation = (_settings(subject, read, name) for name in ("config.json", "generation_config.json"))
    specials = special_tokens(subject, read)
    size = _vocabulary_size(subject, model)
    named = [*specials.values(), *_further(subject, read)]
    definition, ids = _completed(subject, read, content, named, size)
    own = specials.get("eos_token")
    listed = [
        i
        for name, settings in (("config.json", model), ("generation_config.json", generation))
        for i in _listed(f"{subject}/{name}", settings)
    ]
    if own in ids:
        # The model's settings may hold another model's or a class's default, which is an ordinary word here.
        added = {token["id"] for token in json.loads(definition).get("added_tokens", ())}
        listed = [ids[own], *(i for i in listed if i in added)]
    if size is not None and (beyond := [i for i in listed if i >= size]):
        raise ConfigError(
            f"{subject} ends a text with the token {beyond[0]} (eos_token_id), its model has a vocabulary of {size}. "
            f"Remedy: {ID_REMEDY}"
        )
    return TokenFacts(definition, specials, tuple(dict.fromkeys(listed)), size)


def special_tokens(subject: str, read: Read) -> dict[str, str]:
    """Text of each special token that has a name; raises as :func:`token_facts`."""
    where = f"{subject}/tokenizer_config.json"
    settings = _settings(subject, read, "tokenizer_config.json")
    named = {name: _token(where, settings, name) for name in SPECIALS}
    if isinstance(further := settings.get("extra_special_tokens"), dict):
        named |= {name: _token(where, further, name) for name in further}
    if "added_tokens_decoder" not in settings:  # else special_tokens_map.json is not read
        older, where = _settings(subject, read, "special_tokens_map.json"), f"{subject}/special_tokens_map.json"
        named |= {name: _token(where, older, name) for name in SPECIALS if name in older}
    return {name: token["content"] for name, token in named.items() if token is not None}


def _settings(subject: str, read: Read, name: str) -> dict[str, Any]:
    content = read(name)
    return {} if content is None else parse_settings(content, f"{subject}/{name}")


def _token(where: str, settings: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    """A token that settings name, as its text and flags. Raises ConfigError where it is no text."""
    value = of_type(settings, key, (str, dict), where, TOKEN_REMEDY)
    if value is None:
        return None
    token = {"content": value} if isinstance(value, str) else dict(value)
    if not isinstance(token.get("content"), str) or not token["content"]:
        raise wrong(where, key, value, TOKEN_REMEDY)
    return token


def _vocabulary_size(subject: str, model: Mapping[str, Any]) -> int | None:
    where, remedy = f"{subject}/config.json", "give the number of its embedding's entries"
    inner = of_type(model, "text_config", dict, where, "give a JSON object, or take it out") or {}
    size = of_type(model, "vocab_size", int, where, remedy) or of_type(inner, "vocab_size", int, where, remedy)
    if size is not None and size <= 0:
        raise wrong(where, "vocab_size", size, remedy)
    return int(size) if size is not None else None


def _listed(where: str, settings: Mapping[str, Any]) -> list[int]:
    """The ids of ``eos_token_id``. Raises ConfigError where they are none."""
    value = of_type(settings, "eos_token_id", (int, list), where, ID_REMEDY)
    ids = [] if value is None else value if isinstance(value, list) else [value]
    if any(type(one) is not int or one < 0 for one in ids):
        raise wrong(where, "eos_token_id", value, ID_REMEDY)
    return ids


def _further(subject: str, read: Read) -> list[str]:
    """Special tokens without names of their own, in the two ways that tokenizer_config.json has had."""
    where, settings = f"{subject}/tokenizer_config.json", _settings(subject, read, "tokenizer_config.json")
    found = []
    for key in ("extra_special_tokens", "additional_special_tokens"):
        value = of_type(settings, key, (list, dict), where, "give a list of tokens, or take it out")
        for n, token in enumerate(value if isinstance(value, list) else ()):
            told = _token(where, {f"{key}[{n}]": token}, f"{key}[{n}]")
            found += [told["content"]] if told else []
    return found


def _completed(
    subject: str, read: Read, content: bytes, named: list[str], size: int | None
) -> tuple[str, dict[str, int]]:
    """``tokenizer.json`` with the tokens that other files add, and the id of every token."""
    from tokenizers import AddedToken

    definition = _checked(f"{subject}/tokenizer.json", content)
    backend = backend_of(definition)
    ids, known = backend.get_vocab(with_added_tokens=True), backend.get_added_tokens_decoder()
    wanted, where = _added(subject, read)
    tokens = {
        number: AddedToken(**flags | {"special": flags.get("special", False) or text in named})
        for text, (number, flags) in wanted.items()
    }
    new = [token for number, token in sorted(tokens.items()) if repr(token) != repr(known.get(number))]
    there = {token.content for token in known.values()} | wanted.keys()
    new += [AddedToken(text, special=True) for text in dict.fromkeys(named) if text not in there]
    if new:
        # A name without a token would get an id that the embedding may lack: such a token is left out.
        definition = _with_tokens(definition, new)
        ids = backend_of(definition).get_vocab(with_added_tokens=True)
        beyond = [t for t in named if size is not None and t not in there and ids[t] >= size]
        if beyond:
            definition = _with_tokens(backend.to_str(), [token for token in new if token.content not in beyond])
            ids = backend_of(definition).get_vocab(with_added_tokens=True)
    for text, (number, _) in wanted.items():
        if ids.get(text) != number:
            raise ConfigError(
                f"{where}: the token {text!r} has the id {number}, and beside {subject}/tokenizer.json it gets {ids.get(text)}. "
                "Remedy: save the tokenizer anew where its files fit together (save_pretrained), or fetch the model again"
            )
    largest, token = max((number, text) for text, number in ids.items())
    if size is not None and largest >= size:  # they fail in mid-training, on a GPU without an explanation
        raise ConfigError(
            f"the tokenizer of {subject} makes the id {largest} ({token!r}), its model has a vocabulary of {size}. "
            "Remedy: give the tokenizer that the model was trained with, or resize the model's embeddings"
        )
    return definition, ids


def _with_tokens(definition: str, tokens: list[Any]) -> str:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(definition)
    tokenizer.add_tokens(tokens)
    return str(tokenizer.to_str())


def _checked(where: str, content: bytes) -> str:
    """The text of a ``tokenizer.json`` that makes the same tokens of a text each time."""
    again = "Remedy: fetch the model again, or save its fast tokenizer anew"
    settings = parse_settings(content, where)
    model = settings.get("model")
    if isinstance(model, dict) and (dropout := model.get("dropout")):
        raise ConfigError(
            f"{where}: model.dropout is {dropout}: the tokenizer makes other tokens of the same text each time, in training as in "
            "inference. Remedy: set it to null"
        )
    definition = content.decode()
    try:
        backend = backend_of(definition)
    except Exception as error:  # a bare Exception, as libraries written in Rust raise
        raise SourceError(f"{where} is no tokenizer ({str(error).strip().splitlines()[0]}). {again}") from None
    if not backend.get_vocab_size():
        raise SourceError(f"{where} has no tokens. {again}")
    return definition


def _added(subject: str, read: Read) -> tuple[dict[str, tuple[int, dict[str, Any]]], str]:
    """Tokens that a file besides ``tokenizer.json`` adds: text → id and flags; and that file's name in messages."""
    where, remedy = f"{subject}/tokenizer_config.json", "fetch the model again, or save its tokenizer anew"
    settings = _settings(subject, read, "tokenizer_config.json")
    found: dict[str, tuple[int, dict[str, Any]]] = {}
    if "added_tokens_decoder" not in settings:
        where = f"{subject}/added_tokens.json"
        for text, number in _settings(subject, read, "added_tokens.json").items():
            if type(number) is not int or number < 0:
                raise wrong(where, text, number, remedy)
            found[text] = number, {"content": text, "normalized": True}
        return found, where
    decoder = of_type(settings, "added_tokens_decoder", dict, where, remedy) or {}
    for number, flags in decoder.items():
        token = _token(where, decoder, number)
        if token is None or not isinstance(flags, dict) or not number.isdecimal():
            raise wrong(where, f"added_tokens_decoder[{number!r}]", flags, remedy)
        kept = {k: v for k, v in token.items() if k in ("lstrip", "rstrip", "single_word", "normalized", "special")}
        if not all(isinstance(value, bool) for value in kept.values()):
            raise wrong(where, f"added_tokens_decoder[{number!r}]", flags, remedy)
        found[token["content"]] = int(number), {"content": token["content"], **kept}
    return found, where


@functools.lru_cache(maxsize=4)  # once per worker process, however many batches pass through it
def backend_of(definition: str) -> Any:
    """The tokenizer of a ``tokenizer.json``, which neither cuts texts nor pads them."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(definition)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
