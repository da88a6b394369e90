"""What text a request may contain. None of it reaches a shell or a template; these rules refuse early what is amiss.

The type of a setting says what its text is (``handoff/text.py``): a place, which must be one that the deployment allows,
the name of something, or free text. A text without a type is judged as a place, so a new setting is not open by mistake.
"""

import json
import os
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from handoff.text import TextKind, text_fields
from orchestration.paths import ALLOWED_ROOTS, allowed_roots

LARGEST_REQUEST_BYTES = 64 << 10
LONGEST_TEXT_CHARS = 4096
DEEPEST_REQUEST = 12

_JINJA = re.compile(r"\{\{|\{%|\{#")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SHELL = re.compile(r"[;|&$`<>\"\\]")
_PARENT = re.compile(r"(^|/)(\.\.|%2e%2e)(/|$)", re.IGNORECASE)
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def request_problem(request: dict[str, Any]) -> str | None:
    """What is wrong with a request as a whole, checked before any of it is read or repeated in a message."""
    try:
        size = len(json.dumps(request))
    except RecursionError:
        return "the request is nested too deeply"
    if size > LARGEST_REQUEST_BYTES:
        return f"the request has {size:,} bytes, the limit is {LARGEST_REQUEST_BYTES:,}: put long text into a file"
    if _depth(request) > DEEPEST_REQUEST:
        return "the request is nested too deeply"
    return None


def text_problems(config: type[BaseModel], settings: dict[str, Any]) -> list[str]:
    """Every text of a configuration that breaks a rule of its type, with the rule.

    Args:
        config: the configuration's class.
        settings: its values, as JSON types. Unknown ones are left to the class.
    """
    kinds = {path: kind or TextKind("location") for path, kind in text_fields(config)}
    return [
        f"{path}: {why}"
        for path, text in _strings(settings, "")
        if path in kinds and (why := _problem(kinds[path], text))
    ]


def _problem(kind: TextKind, text: str) -> str | None:
    if len(text) > LONGEST_TEXT_CHARS:
        return f"{len(text):,} characters, the limit is {LONGEST_TEXT_CHARS:,}"
    if kind.what == "free":
        return "a NUL character" if "\0" in text else None
    if _JINJA.search(text):
        return f"{text[:80]!r} looks like a template, and templates are not rendered: write the value itself"
    if found := _CONTROL.search(text):
        return f"{text[:80]!r} contains the control character {found.group()!r}"
    if _PARENT.search(text):
        return f"{text[:80]!r} contains '..': write the path without it"
    if kind.what == "name":
        return None
    if found := _SHELL.search(text):
        return f"{text[:80]!r} contains {found.group()}, which is not allowed: rename or link the file"
    return _location_problem(kind, text)


def _location_problem(kind: TextKind, text: str) -> str | None:
    """Why a path or URI may not be read, or None. Packages and hub ids are no paths, and pass."""
    if text.startswith("package:"):
        return None
    if kind.hub_id and _HUB_ID.fullmatch(text) and not os.path.exists(text):
        return None
    if (scheme := _URI.match(text)) and scheme.group(1) != "file":
        if "@" in text or "#" in text or re.search(r"\?[^/]*=", text):
            return f"{text[:80]!r} carries credentials or options: put those into the environment of the workers"
        inside = any(text == root or text.startswith(f"{root}/") for root in _roots(remote=True))
    else:
        local = os.path.realpath(re.split(r"[*?\[]", text.removeprefix("file://"), maxsplit=1)[0] or ".")
        inside = any(os.path.commonpath([local, root]) == root for root in _roots(remote=False))
    if inside:
        return None
    return (
        f"{text[:80]!r} is outside of the allowed places ({', '.join(allowed_roots())}): move it there, or have its "
        f"directory or URI added to {ALLOWED_ROOTS} of the Airflow workers"
    )


def _roots(*, remote: bool) -> list[str]:
    roots = [root.rstrip("/") or "/" for root in allowed_roots()]
    if remote:
        return [root for root in roots if _URI.match(root)]
    return [os.path.realpath(root) for root in roots if not _URI.match(root)]


def _strings(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Dotted path and text of every string."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, below in value.items():
            yield from _strings(below, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for below in value:
            yield from _strings(below, path)


def _depth(value: Any, depth: int = 0) -> int:
    if depth > DEEPEST_REQUEST:
        return depth
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return max((_depth(b, depth + 1) for b in below), default=depth)
