"""Where this machine keeps what Baton writes outside of the store: caches, the embedded MLflow, logs."""

import os
from pathlib import Path


def baton_home() -> Path:
    """``BATON_HOME``, by default ``./var`` of the project; absolute."""
    return Path(os.environ.get("BATON_HOME") or Path(__file__).resolve().parent.parent / "var").absolute()
