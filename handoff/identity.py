"""What of a configuration goes into an artifact's id: every field that its class does not mark otherwise."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel
from pydantic.fields import FieldInfo

T = TypeVar("T")


@dataclass(frozen=True)
class NotInId:
    """Marks a field that does not change what the artifact holds.

    Attributes:
        unless: of a configuration for which this holds, the field goes into the id after all.
    """

    unless: Callable[[Any], object] | None = None


Runtime = Annotated[T, NotInId()]  # how the work is done: on what, how fast, how safely. Sums may round differently.
Input = Annotated[T, NotInId()]  # where an input is: the artifact of its contents is a parent, and so part of the id

Limit = Annotated[T, NotInId()]  # what stored results are judged by, each time they are read


def identity_of(config: BaseModel) -> dict[str, Any]:
    """The fields that go into an id, as JSON types; nested configurations likewise."""
    fields: dict[str, Any] = _kept(config, config.model_dump(mode="json"))
    return fields


def mark_of(field: FieldInfo) -> NotInId | None:
    """A field's mark; None where it always goes into the id."""
    return next((mark for mark in field.metadata if isinstance(mark, NotInId)), None)


def _kept(value: Any, dumped: Any) -> Any:
    if isinstance(value, BaseModel):
        return {
            name: _kept(getattr(value, name), dumped[name])
            for name, field in type(value).model_fields.items()
            if (mark := mark_of(field)) is None or (mark.unless and mark.unless(value))
        }
    if isinstance(value, tuple | list):
        return [_kept(*pair) for pair in zip(value, dumped, strict=True)]
    return dumped
