"""A job's command as a list of arguments: which values are accepted, and the errors for all others."""

import os
import reprlib
from collections.abc import Sequence
from typing import Any


def arguments(entrypoint: Any) -> list[str]:
    """The arguments of a command, as texts; numbers are written out, also those that a native template rendered.

    Raises:
        TypeError: naming what is no list, or the item that is no argument.
    """
    if isinstance(entrypoint, str | bytes) or not isinstance(entrypoint, Sequence):
        raise TypeError(no_list(entrypoint))
    if not entrypoint:
        raise TypeError('entrypoint is empty. Remedy: give the command, such as ["python", "-m", "my_job"]')
    return [_argument(number, item) for number, item in enumerate(entrypoint)]


def no_list(entrypoint: Any) -> str:
    return (
        f"entrypoint is {_shown(entrypoint)}. Remedy: give a list with one argument an item, such as "
        '["python", "-m", "my_job", "--epochs", "3"]'
    )


def _shown(value: Any) -> str:
    return f"{reprlib.repr(value)}, a {type(value).__name__}"


def _argument(number: int, item: Any) -> str:
    if isinstance(item, str):
        if "\0" in item or any("\ud800" <= character <= "\udfff" for character in item):
            raise TypeError(
                f"entrypoint[{number}] is {_shown(item)} with a NUL or half of a surrogate pair, which no argument of a process "
                "can hold. Remedy: take it out"
            )
        return item
    if isinstance(item, int | float | os.PathLike) and not isinstance(item, bool):
        return os.fspath(item) if isinstance(item, os.PathLike) else str(item)
    raise TypeError(
        f"entrypoint[{number}] is {_shown(item)}, no text, path or number. "
        "Remedy: write it as the text that the program reads"
    )
