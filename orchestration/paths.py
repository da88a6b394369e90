"""Where a deployment keeps things: environment variables of the Airflow worker, never of a request."""

import hashlib
import os
import re

from handoff.home import baton_home

ALLOWED_ROOTS = "BATON_ALLOWED_ROOTS"


def run_key(run_id: str) -> str:
    """``dag_run.run_id`` as a directory name: letters, digits, ``_ . -``; two run ids never share one."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", run_id).strip(".-")[:120]
    return plain if plain == run_id else f"{plain}-{hashlib.sha256(run_id.encode()).hexdigest()[:6]}"


def runs_root() -> str:
    """Where runs keep their directories: ``BATON_RUNS`` (a path or URI), by default ``BATON_HOME``/runs."""
    return os.environ.get("BATON_RUNS") or str(baton_home() / "runs")


def run_uri(dag_id: str, key: str) -> str:
    """Directory of a run. Two DAGs may have runs of one id: each has a directory of its own."""
    return f"{runs_root()}/{dag_id}/{key}"


def storage_root() -> str:
    """Where artifacts go: ``BATON_STORAGE`` (a path or URI), by default ``BATON_HOME``/artifacts."""
    return os.environ.get("BATON_STORAGE") or str(baton_home() / "artifacts")


def allowed_roots() -> list[str]:
    """Directories and URI prefixes that a request may name: those of ``BATON_ALLOWED_ROOTS`` (separated by commas), and
    this deployment's own store.

    Requests come from everyone who may trigger the DAG, and the worker reads with its own rights: nothing else is open
    by itself. ``make up`` sets ``/``: there, worker and user are the same person.
    """
    named = [root.strip() for root in os.environ.get(ALLOWED_ROOTS, "").split(",")]
    return [*filter(None, named), storage_root()]
