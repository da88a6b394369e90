"""Runtime environments: how the operator's is merged over the connection's."""

from collections.abc import Mapping
from typing import Any

# Ray takes one of these; the operator's choice replaces whatever the connection chose.
ONE_OF = ({"pip", "uv", "conda"}, {"container", "image_uri"})
# With an image of its own, Ray takes nothing else but these.
BESIDE_IMAGE = {"env_vars", "config"}


def merge(connection: Mapping[str, Any] | None, operator: Mapping[str, Any] | None) -> dict[str, Any]:
    """The environment of a job: the connection's, and the operator's over it.

    Objects are merged key by key, at every depth; lists, texts, numbers and booleans are replaced whole. An operator's
    ``None`` removes what the connection says. The operator's pip, uv or conda replaces the connection's of whichever kind,
    and its image the connection's image and all that Ray does not take beside an image.
    """
    base, over = dict(connection or {}), dict(operator or {})
    chosen = {key for key, value in over.items() if value is not None}
    for group in ONE_OF:
        if chosen & group:
            for key in group - chosen:
                base.pop(key, None)
    if chosen & ONE_OF[1]:
        base = {key: value for key, value in base.items() if key in BESIDE_IMAGE | chosen}
    return _merge(base, over)


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            there = merged.get(key)
            merged[key] = _merge(there if isinstance(there, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged
