"""Arguments of an operator: what is accepted, when the DAG file is read and again when its templates are rendered."""

import reprlib
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk import XComArg


def is_template(value: Any) -> bool:
    """Whether a value is known only when the task runs."""
    return isinstance(value, XComArg) or (isinstance(value, str) and ("{{" in value or "{%" in value))


def number(name: str, value: Any, *, whole: bool = False, above: float | None = None) -> Any:
    """A number of at least 0, or above a limit; a text that a template rendered is read. Templates are returned as they are."""
    if is_template(value):
        return value
    read = value
    if isinstance(value, str):
        try:
            read = int(value) if whole else float(value)
        except ValueError:
            _refuse(name, value, "give a number")
    if isinstance(read, bool) or not isinstance(read, int if whole else int | float) or read != read:
        _refuse(name, value, "give a whole number" if whole else "give a number")
    if (read < 0) if above is None else (read <= above):
        raise ValueError(
            f"{name} is {read}. Remedy: give a number {f'above {above:g}' if above is not None else 'from 0'}"
        )
    return read


def numbers(name: str, value: Any) -> Any:
    """Amounts by name, such as ``{"head": 0.1}``."""
    found = mapping(name, value)
    return {key: number(f"{name}[{key!r}]", item) for key, item in found.items()} if isinstance(found, dict) else found


def texts(name: str, value: Any) -> Any:
    """Texts by name; numbers are written out."""
    found = mapping(name, value)
    if not isinstance(found, dict):
        return found
    for key, item in found.items():
        if not (isinstance(item, str | int | float) or is_template(item)) or isinstance(item, bool):
            _refuse(f"{name}[{key!r}]", item, "give a text")
    return {key: item if is_template(item) else str(item) for key, item in found.items()}


def mapping(name: str, value: Any) -> Any:
    """A dictionary with texts as keys, or None."""
    if value is None or is_template(value):
        return value
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        _refuse(name, value, "give a dictionary with texts as keys")
    return dict(value)


def text(name: str, value: Any, *, needed: bool = False) -> Any:
    if value is None and not needed:
        return None
    if not is_template(value) and (not isinstance(value, str) or not value.strip()):
        _refuse(name, value, "give a text")
    return value


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        _refuse(name, value, "give True or False")
    return value


def duration(name: str, value: Any) -> timedelta:
    if not isinstance(value, timedelta):
        shown = f"timedelta(seconds={value!r})" if isinstance(value, int | float) else "a timedelta"
        _refuse(name, value, f"give {shown}")
    if value < timedelta(0):
        raise ValueError(f"{name} is {value}. Remedy: give a time from 0")
    return value


def exit_codes(name: str, value: Any) -> tuple[int, ...]:
    if isinstance(value, str | bytes) or not isinstance(value, Collection):
        _refuse(name, value, "give a list of whole numbers")
    for code in value:
        if isinstance(code, bool) or not isinstance(code, int) or not 0 < code < 256:
            _refuse(name, value, "give whole numbers from 1 to 255")
    return tuple(value)


def _refuse(name: str, value: Any, remedy: str) -> Any:
    raise TypeError(f"{name} is {reprlib.repr(value)}, a {type(value).__name__}. Remedy: {remedy}")
