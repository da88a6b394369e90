"""Imports go one way, transitive ones and those inside functions included: engines stay replaceable, DAG files light."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = {
    "airflow_ray",
    "dags",
    "orchestration",
    "handoff",
    "engines",
    "etl",
    "training",
    "evaluation",
    "registry",
    "inference",
    "comparison",
    "reporting",
    "pages",
}

# What a package's modules may never reach, however indirectly.
FORBIDDEN = {
    "handoff": OURS - {"handoff"} | {"ray", "pyspark", "airflow", "torch"},
    "engines": OURS - {"engines", "handoff"} | {"pyspark", "airflow"},
    "etl": OURS - {"etl", "handoff"} | {"ray", "torch", "airflow"},
    "registry": OURS - {"registry", "handoff"} | {"ray", "pyspark", "airflow", "torch"},
    "training": OURS - {"training", "registry", "engines", "handoff"} | {"pyspark", "airflow"},
    "evaluation": OURS - {"evaluation", "registry", "engines", "handoff"} | {"pyspark", "airflow"},
    "inference": OURS - {"inference", "engines", "handoff"} | {"pyspark", "airflow"},
    "pages": OURS - {"pages"} | {"ray", "pyspark", "airflow", "torch"},
    "reporting": OURS - {"reporting", "pages", "handoff"} | {"ray", "pyspark", "airflow", "torch"},
    # Drives both engines, in processes of their own; plan and the page read it without one.
    "comparison": {"dags", "orchestration", "reporting", "airflow"},
    "orchestration": {"dags", "pyspark"},
    # Could be published on its own.
    "airflow_ray": OURS - {"airflow_ray"} | {"pyspark", "torch"},
}


def modules() -> dict[str, Path]:
    found = {}
    for package in OURS:
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = path
    return found


def imports(path: Path, known: dict[str, Path], top_level_only: bool = False) -> set[str]:
    """Names of modules that a file imports, at the top or (unless told otherwise) inside functions."""
    found: set[str] = set()
    tree = ast.parse(path.read_text())
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            nested = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update({node.module} | (nested & known.keys()))
    return found


def reachable(start: str, graph: dict[str, set[str]]) -> dict[str, str]:
    """Every module that ``start`` imports, however indirectly, with the module that brings it in."""
    via: dict[str, str] = {}
    todo = [start]
    while todo:
        module = todo.pop()
        for target in graph.get(module, set()):
            if target not in via:
                via[target] = module
                todo.append(target)
    return via


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    known = modules()
    return {name: imports(path, known) for name, path in known.items()}


def test_the_graph_sees_what_is_there(graph: dict[str, set[str]]) -> None:
    assert "handoff.store" in graph["handoff.artifact"]
    assert "handoff.manifest" in reachable("handoff.verify", graph)
    assert {name.split(".")[0] for name in graph} == OURS


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_no_package_reaches_what_it_must_not(package: str, graph: dict[str, set[str]]) -> None:
    broken = [
        f"{module} imports {target} (through {via})"
        for module in graph
        if module.split(".")[0] == package
        for target, via in reachable(module, graph).items()
        if target.split(".")[0] in FORBIDDEN[package]
    ]
    assert not broken, "\n".join(broken)


def test_dag_files_import_orchestration_and_the_ray_provider_only(graph: dict[str, set[str]]) -> None:
    for module, targets in graph.items():
        if module.startswith("dags."):
            ours = {t.split(".")[0] for t in targets} & OURS
            assert ours <= {"orchestration", "airflow_ray"}, f"{module} imports {ours}"


def test_parsing_a_dag_loads_no_engine() -> None:
    """What the scheduler imports again and again, followed through top-level imports alone."""
    known = modules()
    top = {name: imports(path, known, top_level_only=True) for name, path in known.items()}
    heavy = {"ray", "pyspark", "torch", "transformers", "deepspeed", "mlflow", "matplotlib", "pyarrow"}
    for module in (m for m in known if m.startswith("dags.")):
        loaded = {t.split(".")[0] for t in reachable(module, top)}
        assert not loaded & (heavy - {"pyarrow"}), f"{module} loads {loaded & heavy}"
