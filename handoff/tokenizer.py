"""A model's tokenizer as every stage uses it: which tokens a text, a prompt and a pair become, and which end a text.

Training, evaluation and inference all call this module, so that what is served is what was learnt. ``tokenizer.json`` is
read as it stands, with the tokens that other files add (:mod:`handoff.token_facts`): transformers rebuilds it for some
model types, and then makes other tokens of the same text.
"""

import functools
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handoff.artifact import Artifact
from handoff.errors import ConfigError
from handoff.model_json import read_file
from handoff.token_facts import Read, backend_of, token_facts

# The files that a tokenizer consists of, in any of the forms that transformers reads.
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt",
    "merges.txt", "tokenizer.model", "spiece.model", "chat_template.json", "*.jinja",
)  # fmt: skip


@dataclass(frozen=True)
class ModelTokenizer:
    """A fast tokenizer and the tokens that end a text; a small value that travels to worker processes.

    It needs the tokenizers package only: importing that takes 0.1 s in a worker process, transformers 5 s.

    Args:
        definition: text of ``tokenizer.json``, with the tokens that other files add.
        stop_ids: token ids that end a text. Training appends the first one, generation stops at each.
    """

    definition: str
    stop_ids: tuple[int, ...]

    @classmethod
    def of_model(cls, model: Artifact) -> "ModelTokenizer":
        """Read the tokenizer of a model artifact, wherever it is stored; raises as :meth:`of_directory`."""
        paths = {entry.path.rsplit("/", 1)[-1]: model.path_of(entry) for entry in model.manifest.files}
        return cls._read(model.id, lambda name: model.store.read(paths[name]) if name in paths else None)

    @classmethod
    def of_directory(cls, directory: str | Path) -> "ModelTokenizer":
        """Read the tokenizer of a Hugging Face directory.

        Raises:
            SourceError: one of its files is damaged.
            ConfigError: there is no ``tokenizer.json``, no token ends a text, the tokenizer makes ids that the model's
                vocabulary lacks, or other tokens of the same text each time.
        """
        root = Path(directory)
        return cls._read(str(root), lambda name: read_file(root / name))

    @classmethod
    def _read(cls, subject: str, read: Read) -> "ModelTokenizer":
        facts = token_facts(subject, read)
        if not facts.stop_ids:
            raise ConfigError(
                f"{subject} names no end-of-sequence token. Remedy: set eos_token in its tokenizer_config.json"
            )
        return cls(facts.definition, facts.stop_ids)

    @property
    def end_id(self) -> int:
        """The token that training appends to each text; also used as padding, which attention and loss leave out."""
        return self.stop_ids[0]

    def texts(self, texts: Sequence[str], *, end: bool) -> list[list[int]]:
        """Token ids of whole texts, after whatever the tokenizer puts before a text (such as a BOS token).

        Args:
            texts: passages.
            end: append ``end_id`` where a text does not end with it.
        """
        return [self._framed(ids, end) for ids in self._encode(texts)]

    def prompts(self, prompts: Sequence[str]) -> list[list[int]]:
        """Token ids of texts that go on: never with an end token, which some tokenizers append to every text."""
        return self.texts(prompts, end=False)

    def rendered(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of texts that a chat template made: it has put all special tokens in."""
        return self._encode(texts)

    def pairs(self, prompts: Sequence[str], completions: Sequence[str], *, end: bool) -> list[tuple[list[int], int]]:
        """Token ids of prompts with their completions, and how many of the first ids are the prompt's.

        They begin with the ids that :meth:`prompts` gives, which are all that inference knows. What follows are the
        tokens of the pair read as one text, so that no tokenizer puts a space between the two. Where a token of that
        text would span the border, or a space would be put after a special token (Llama 2), the completion is tokenised by
        itself instead, as a text that goes on: asked for, it comes back as it was given.
        """
        return [
            (self._framed(prompt + rest, end), self.before + len(prompt))
            for prompt, rest, _ in self._cut(prompts, completions)
        ]

    def borders(self, prompts: Sequence[str], completions: Sequence[str]) -> dict[str, int]:
        """How many completions are tokenised by themselves, or do not come back as they were given, by reason."""
        reasons = Counter[str]()
        for (prompt, rest, reason), completion in zip(self._cut(prompts, completions), completions, strict=True):
            reasons.update([reason] if reason else [])
            if self.completion(prompt, rest) != completion:
                reasons[
                    "do not come back as they were given (the tokenizer changes or lacks some of their characters)"
                ] += 1
        return dict(reasons)

    def _cut(
        self, prompts: Sequence[str], completions: Sequence[str]
    ) -> Iterator[tuple[list[int], list[int], str | None]]:
        """Token ids of each prompt and of its completion, and why the completion is tokenised by itself, where it is."""
        given, joined = self._encode(prompts), self._encode([p + c for p, c in zip(prompts, completions, strict=True)])
        added = _added_ids(self.definition)
        for prompt, whole, completion in zip(given, joined, completions, strict=True):
            rest, reason = whole[len(prompt) :], None
            if whole[: len(prompt)] != prompt:
                reason = "are tokenised by themselves, as a token would span the end of the prompt"
            # Between added tokens a tokenizer normalises each part as a text of its own. Only there is decoding worth its time.
            elif added.intersection((*prompt[-1:], *rest)) and self.completion(prompt, rest) != completion:
                reason = "are tokenised by themselves, as the tokenizer would put a space after a special token"
            if reason:
                rest = _continuation(self.definition).encode(completion, add_special_tokens=False).ids
            yield prompt, rest, reason

    def ends(self, texts: Sequence[str]) -> list[list[int]]:
        """For each text the character at which each of its tokens ends; tokens that stand before a text not counted."""
        encoded = backend_of(self.definition).encode_batch(list(texts), add_special_tokens=False)
        return [[end for _, end in e.offsets] for e in encoded]

    @property
    def before(self) -> int:
        """How many tokens the tokenizer puts before every text."""
        return len(_prefix_of(self.definition))

    def completion(self, prompt_ids: Sequence[int], completion_ids: Sequence[int]) -> str:
        """Text of the tokens generated after a prompt; special tokens stay in it.

        Decoded together with the prompt where that is possible: some tokenizers drop the space before the first token.
        """
        backend = backend_of(self.definition)
        before = backend.decode(list(prompt_ids), skip_special_tokens=False)
        whole = backend.decode([*prompt_ids, *completion_ids], skip_special_tokens=False)
        if whole.startswith(before):
            return str(whole[len(before) :])
        return str(backend.decode(list(completion_ids), skip_special_tokens=False))

    def until_stop(self, ids: Sequence[int]) -> list[int]:
        """The ids before the first stop token."""
        return list(ids[: next((n for n, token in enumerate(ids) if token in self.stop_ids), len(ids))])

    def _framed(self, ids: list[int], end: bool) -> list[int]:
        framed = [*_prefix_of(self.definition), *ids]
        return framed if not end or framed[-1:] == [self.end_id] else [*framed, self.end_id]

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        encoded = backend_of(self.definition).encode_batch_fast(list(texts), add_special_tokens=False)
        return [e.ids for e in encoded]


@functools.lru_cache(maxsize=4)
def _prefix_of(definition: str) -> tuple[int, ...]:
    """What the tokenizer's post-processor puts before every text."""
    backend = backend_of(definition)
    for text in itertools.chain("x0", (backend.decode([n]) for n in range(backend.get_vocab_size()))):
        encoding = backend.encode(text)
        if 0 in encoding.special_tokens_mask:  # the vocabulary has this text
            return tuple(encoding.ids[: encoding.special_tokens_mask.index(0)])
    return ()


@functools.lru_cache(maxsize=4)
def _added_ids(definition: str) -> frozenset[int]:
    """Tokens that are cut out of a text before it is normalised."""
    return frozenset(backend_of(definition).get_added_tokens_decoder())


@functools.lru_cache(maxsize=4)
def _continuation(definition: str) -> Any:
    """The tokenizer for a text that goes on from another one: it puts no space before the first word."""
    settings = json.loads(definition)
    for step in _steps(settings.get("pre_tokenizer")):
        if step.get("type") == "Metaspace":
            step["prepend_scheme"] = "never"
        elif step.get("type") == "ByteLevel":
            step["add_prefix_space"] = False
    for step in _steps(settings.get("normalizer")):
        if step.get("type") == "Prepend":
            step["prepend"] = ""
        elif step.get("type") == "Strip":
            step["strip_left"] = False
    return backend_of(json.dumps(settings))


def _steps(part: Any) -> Iterator[dict[str, Any]]:
    """The steps of a normalizer or pre-tokenizer, which may be one or a nested sequence."""
    if part:
        yield part
        for key in ("pretokenizers", "normalizers"):
            for inner in part.get(key, ()):
                yield from _steps(inner)
