"""The stages of the comparison by name, in the order of the chain: one module each, all forms of it side by side.

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


# What people call a stage elsewhere.
ALSO_CALLED = {
    "sort": "order", "shuffle": "order", "dedup": "deduplicate", "distinct": "deduplicate", "minhash": "near_duplicates",
    "groupby": "aggregate", "group": "aggregate", "filter": "clean", "tokenize": "tokenise", "pack": "tokenise",
    "ingest": "feed", "fit": "train", "kill": "recover", "predict": "generate", "infer": "generate", "relay": "chain",
}  # fmt: skip


def require_known(name: str) -> None:
    """Raises ConfigError naming the known stages where ``name`` is none of them. Loads none."""
    if name not in NAMES:
        near = [ALSO_CALLED[name]] if name in ALSO_CALLED else difflib.get_close_matches(name, NAMES, 1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"the comparison has no stage {name!r}. {hint}Remedy: choose from {', '.join(NAMES)}")


def stage(name: str) -> Stage:
    """The stage of this name. Raises ConfigError naming the known ones."""
    require_known(name)
    module = "comparison.chain.stage" if name == "chain" else f"comparison.stages.{name}"
    return importlib.import_module(module).STAGE


def stages(names: Iterable[str] = NAMES) -> tuple[Stage, ...]:
    """Stages in the order of the chain. Raises ConfigError for a name that there is not."""
    wanted = set(names)
    for name in sorted(wanted):
        require_known(name)
    return tuple(stage(name) for name in NAMES if name in wanted)
