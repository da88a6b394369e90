"""The stages of the comparison, in the order of the chain: one module each, all forms of it side by side.

The modules import no engine at their top: *plan* and the page read them without starting one.
"""

import difflib
import importlib
from collections.abc import Iterable

from comparison.form import Stage
from handoff.errors import ConfigError

NAMES = (
    "clean",
    "deduplicate",
    "near_duplicates",
    "join",
    "order",
    "aggregate",
    "tokenise",
    "feed",
    "train",
    "recover",
    "embed",
    "generate",
    "overlap",
    "chain",
)


def require_known(name: str) -> None:
    """Raises ConfigError naming the known stages where ``name`` is none of them. Loads none."""
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, 1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"the comparison has no stage {name!r}. {hint}Remedy: choose from {', '.join(NAMES)}")


def stage(name: str) -> Stage:
    """The stage of this name. Raises ConfigError naming the known ones."""
    require_known(name)
    return importlib.import_module(f"comparison.stages.{name}").STAGE


def stages(names: Iterable[str] = NAMES) -> tuple[Stage, ...]:
    """Stages in the order of the chain. Raises ConfigError for a name that there is not."""
    wanted = set(names)
    for name in sorted(wanted):
        require_known(name)
    return tuple(stage(name) for name in NAMES if name in wanted)
