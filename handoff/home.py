"""Where this machine keeps what Baton writes outside of the store: caches, the embedded MLflow, logs."""

import os
from pathlib import Path

from handoff.errors import ConfigError

PROJECT = Path(__file__).resolve().parent.parent


def baton_home() -> Path:
    """``BATON_HOME``, by default ``./var`` of the project's checkout; absolute.

    Raises:
        ConfigError: it is not set, and this is an installed copy, which has no place of its own to write to.
    """
    if home := os.environ.get("BATON_HOME"):
        return Path(home).absolute()
    if not (PROJECT / "pyproject.toml").is_file():
        raise ConfigError(
            "BATON_HOME is not set, and Baton is installed, not run from its checkout. Remedy: set BATON_HOME to a "
            "directory for runs, artifacts and caches, the same for every process"
        )
    return PROJECT / "var"
