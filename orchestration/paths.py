"""Where a deployment keeps things: environment variables of the Airflow worker, never of a request."""

import hashlib
import os
import re

from handoff.home import baton_home


def run_key(run_id: str) -> str:
    """``dag_run.run_id`` as a directory name: letters, digits, ``_ . -``; two run ids never share one."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", run_id).strip(".-")[:120]
    return plain if plain == run_id else f"{plain}-{hashlib.sha256(run_id.encode()).hexdigest()[:6]}"


def run_uri(key: str) -> str:
    """Directory of a run: below ``BATON_RUNS`` (a path or URI), by default ``BATON_HOME``/runs."""
    return f"{os.environ.get('BATON_RUNS') or baton_home() / 'runs'}/{key}"


def storage_root() -> str:
    """Where artifacts go: ``BATON_STORAGE`` (a path or URI), by default ``BATON_HOME``/artifacts."""
    return os.environ.get("BATON_STORAGE") or str(baton_home() / "artifacts")
