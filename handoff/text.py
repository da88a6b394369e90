"""What a text in a configuration is: its field's type says so, and thereby what it may contain.

    uri: Location              a path, URI or glob: it lies in the places that the deployment allows
    text_column: Name          what something is called: a column, a split, a registered model, a glob of names
    template: FreeText         any characters: text for or of a model, a regular expression

Types nest, as in ``Input[Location | None]`` and ``tuple[Name, ...]``. ``orchestration/text_rules.py`` judges a request by
them. A text without one is judged as a location, and fails a test.
"""

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel


@dataclass(frozen=True)
class TextKind:
    """Marks a text.

    Attributes:
        what: which rules hold for it.
        hub_id: of a location, whether the id of a model on a hub may stand there instead.
    """

    what: Literal["location", "name", "free"]
    hub_id: bool = False


Location = Annotated[str, TextKind("location")]
LocationOrHubId = Annotated[str, TextKind("location", hub_id=True)]
Name = Annotated[str, TextKind("name")]
FreeText = Annotated[str, TextKind("free")]


NO_TEXT = (bool, int, float, type(None))


def text_fields(config: type[BaseModel], path: str = "") -> Iterator[tuple[str, TextKind | None]]:
    """Dotted path and kind of every field that may hold text, those in lists and nested configurations included.

    Numbers and choices (``Literal``) hold none. Whatever else there is (``Path``, ``Any``) does, and needs a type too.
    """
    for name, field in config.model_fields.items():
        marks = [mark for mark in field.metadata if isinstance(mark, TextKind)]
        yield from _texts(field.annotation, f"{path}{name}", marks[0] if marks else None)


def _texts(annotation: Any, path: str, kind: TextKind | None) -> Iterator[tuple[str, TextKind | None]]:
    origin = get_origin(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from text_fields(annotation, f"{path}.")
    elif origin is Annotated:
        inner, *marks = get_args(annotation)
        yield from _texts(inner, path, next((mark for mark in marks if isinstance(mark, TextKind)), kind))
    elif origin in (Union, types.UnionType, tuple, list, dict):
        for part in get_args(annotation):
            if part is not Ellipsis:
                yield from _texts(part, path, kind)
    elif origin is not Literal and annotation not in NO_TEXT:
        yield path, kind
