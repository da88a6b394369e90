"""The text that a model is given: the template with a row's columns in it, and the tokenizer's chat template around it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handoff.errors import ConfigError
from handoff.model_json import read_file, read_settings
from handoff.token_facts import special_tokens

if TYPE_CHECKING:
    from handoff.tokenizer import ModelTokenizer

ZERO_WIDTH = "\u200b"  # space
_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")


def columns_of(template: str) -> tuple[str, ...]:
    """Columns that a template names besides the prompt, in order, each once."""
    return tuple(dict.fromkeys(name for name in _PLACEHOLDER.findall(template) if name != "prompt"))


def fill(template: str, row: Mapping[str, Any]) -> str:
    """The template with a row's values in the places of their names; other braces stay."""
    return _PLACEHOLDER.sub(lambda found: str(row[found.group(1)]), template)


@dataclass(frozen=True)
class ChatTemplate:
    """A tokenizer's chat template.

    Attributes:
        source: Jinja, as the model's files have it.
        specials: the special tokens that it may name.
    """

    source: str
    specials: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_directory(cls, directory: str | Path) -> "ChatTemplate":
        """The template of a Hugging Face directory. Raises ConfigError where it has none."""
        root = Path(directory)
        settings = read_settings(root / "tokenizer_config.json")
        own = root / "chat_template.jinja"
        source: Any = own.read_text() if own.is_file() else settings.get("chat_template")
        if isinstance(source, list):  # several under names
            source = {t["name"]: t["template"] for t in source}.get("default")
        if not source:
            raise ConfigError(
                f"chat is on, and the tokenizer in {directory} has no chat template. Remedy: set inference.chat to false"
            )
        return cls(source, special_tokens(str(root), lambda name: read_file(root / name)))

    def render(self, text: str) -> str:
        """The conversation in which a user says ``text``, up to where the answer begins."""
        from transformers.utils.chat_template_utils import render_jinja_template

        specials: dict[str, Any] = dict(self.specials)
        made: Any = render_jinja_template(
            conversations=[[{"role": "user", "content": text}]],
            chat_template=self.source,
            add_generation_prompt=True,
            **specials,
        )
        return str(made[0][0])


@dataclass(frozen=True)
class Guard:
    """Keeps the tokens by which a chat template marks turns out of what a user says.

    Attributes:
        tokenizer: of the model that answers.
        controls: text of each such token by its id.
        escape: whether they are made words; they are refused otherwise.
    """

    tokenizer: "ModelTokenizer"
    controls: dict[int, str]
    escape: bool

    @classmethod
    def of(cls, tokenizer: "ModelTokenizer", chat: ChatTemplate, escape: bool) -> "Guard":
        """The tokenizer's special tokens, and those of its other added ones that the chat template names."""
        added = json.loads(tokenizer.definition).get("added_tokens", ())
        controls = {t["id"]: t["content"] for t in added if t.get("special") or t["content"] in chat.source}
        return cls(tokenizer, controls, escape)

    def safe(self, row: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
        """A row's values with no such token in them, and why it cannot be used: it has some, and they are not to be escaped,
        or cannot be.
        """
        texts = {name: str(value) for name, value in row.items()}
        if self.escape:
            for token in self.controls.values():
                apart = token[:1] + ZERO_WIDTH + token[1:]
                texts = {name: text.replace(token, apart) for name, text in texts.items()}
        for name, ids in zip(texts, self.tokenizer.rendered(list(texts.values())), strict=True):
            if found := [self.controls[n] for n in ids if n in self.controls]:
                how = (
                    "which no zero-width space makes words" if self.escape else "and inference.special_tokens is refuse"
                )
                return texts, f"the column {name} holds the special token {found[0]!r}, {how}"
        return texts, None
