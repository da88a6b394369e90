"""One DAG file, parsed and loaded, for the rules to look at."""

import ast
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DAGS = Path(__file__).resolve().parent.parent.parent / "dags"
# Exactly these: a rule cannot pass because no file was looked at.
EXPECTED = {
    "spark_to_ray.py": "spark_to_ray",
    "batch_inference.py": "batch_inference",
    "engine_comparison.py": "engine_comparison",
}


@dataclass(frozen=True)
class DagFile:
    """A file and the one DAG in it.

    Attributes:
        name: as messages call it.
        source: its text.
        tree: its syntax tree.
        dag: what Airflow makes of it.
    """

    name: str
    source: str
    tree: ast.Module
    dag: Any

    @property
    def call(self) -> dict[str, ast.expr]:
        """Keyword arguments that the file itself gives to ``DAG(...)``."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "DAG":
                return {k.arg: k.value for k in node.keywords if k.arg}
        return {}


def load(path: Path, name: str | None = None) -> DagFile:
    """Execute a DAG file, as Airflow's DAG processor does."""
    from airflow.sdk.definitions._internal.contextmanager import DagContext

    spec = importlib.util.spec_from_file_location(f"loaded_{path.stem}", path)
    assert spec and spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    DagContext.current_autoregister_module_name = spec.name
    try:
        spec.loader.exec_module(module)
        (dag,) = [dag for dag, owner in DagContext.autoregistered_dags if owner is module]
    finally:
        DagContext.current_autoregister_module_name = None
        del sys.modules[spec.name]
    source = path.read_text()
    return DagFile(name or f"dags/{path.name}", source, ast.parse(source), dag)
