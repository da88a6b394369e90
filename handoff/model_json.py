"""The JSON files of a model directory: every one is read here, and what is wrong is told with file, key, value and remedy."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from handoff.errors import ConfigError, SourceError

LFS_POINTER = b"version https://git-lfs"
AGAIN = "Remedy: fetch the model again"
SHOWN_CHARACTERS = 80  # of a value in a message


def read_settings(file: Path) -> dict[str, Any]:
    """A JSON file of a model directory; empty where there is none. Raises as :func:`parse_settings`."""
    content = read_file(file)
    return {} if content is None else parse_settings(content, str(file))


def read_file(file: Path) -> bytes | None:
    """Content of a file of a model directory; None where there is none. Raises SourceError where it cannot be read."""
    if not file.exists():
        return None
    try:
        return file.read_bytes()
    except OSError as error:  # a directory, or a file that this user may not read
        raise SourceError(f"{file} cannot be read ({error.strerror}). {AGAIN}") from None


def parse_settings(content: bytes, where: str) -> dict[str, Any]:
    """The JSON object in a file of a model directory.

    Args:
        content: of the file.
        where: the file's name in messages.

    Raises:
        SourceError: it is a Git LFS pointer, is not in UTF-8, or holds no JSON object.
    """
    refuse_lfs(content, where)
    try:
        found = json.loads(content.decode())
    except UnicodeDecodeError as error:
        raise SourceError(f"{where} is not in UTF-8 (byte {error.start}). {AGAIN}, or write it as UTF-8 anew") from None
    except (ValueError, RecursionError) as error:
        place = f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise SourceError(f"{where} is no JSON ({place}). {AGAIN}") from None
    if not isinstance(found, dict):
        raise SourceError(f"{where} is not a JSON object but {shown(found)}. {AGAIN}")
    return found


def refuse_lfs(content: bytes, where: str) -> None:
    """Raise SourceError where a clone without Git LFS left a pointer in a file's place."""
    if content.startswith(LFS_POINTER):
        raise SourceError(
            f"{where} is a Git LFS pointer, not the file itself. Remedy: run `git lfs pull` in its directory, "
            "or fetch the model with `hf download`"
        )


def of_type(settings: Mapping[str, Any], key: str, kind: type | tuple[type, ...], where: str, remedy: str) -> Any:
    """A value of a settings file; None where it is absent or null.

    Args:
        settings: of :func:`read_settings`.
        key: its name.
        kind: what it has to be.
        where: the file's name in messages.
        remedy: what to do about another value.

    Raises:
        ConfigError: it is of another type.
    """
    value = settings.get(key)
    if value is None or (isinstance(value, kind) and not isinstance(value, bool)):
        return value
    raise wrong(where, key, value, remedy)


def wrong(where: str, key: str, value: Any, remedy: str) -> ConfigError:
    """The error of a value that cannot be."""
    return ConfigError(f"{where}: {key} is {shown(value)}. Remedy: {remedy}")


def shown(value: Any) -> str:
    """A value as JSON, cut where it is long."""
    text = json.dumps(value, default=str)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
