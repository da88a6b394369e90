"""The DAG files as Airflow sees them: what is there, that parsing touches nothing, and that policies hold."""

import importlib.util
import itertools
import socket
from pathlib import Path
from typing import Any

import pytest

DAGS = Path(__file__).resolve().parent.parent.parent / "dags"
EXPECTED = {"spark_to_ray"}


def parse(path: Path) -> None:
    """Execute a DAG file, as the DAG processor does."""
    spec = importlib.util.spec_from_file_location(f"parsed_{path.stem}", path)
    assert spec and spec.loader
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


@pytest.fixture(scope="module")
def dags() -> dict[str, Any]:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(DAGS))
    assert bag.import_errors == {}
    return bag.dags


def test_exactly_these_dags(dags: dict[str, Any]) -> None:
    assert set(dags) == EXPECTED


def test_the_graph_is_the_flow(dags: dict[str, Any]) -> None:
    dag = dags["spark_to_ray"]
    order = ["plan", "corpus", "train", "evaluate", "promote", "predict", "report"]
    assert [t.task_id for t in dag.topological_sort()] == order
    for before, after in itertools.pairwise(order):
        assert after in dag.get_task(before).downstream_task_ids


def test_a_failed_stage_fails_the_run_though_the_report_is_written(dags: dict[str, Any]) -> None:
    report = dags["spark_to_ray"].get_task("report")
    # With on_failure_fail_dagrun the report would be the leaf that decides the run's state, and turn it green.
    assert report.is_teardown and not report.on_failure_fail_dagrun


def test_docs_owner_and_schedule(dags: dict[str, Any]) -> None:
    for dag in dags.values():
        assert dag.doc_md and "Owner" in dag.doc_md and "When a task fails" in dag.doc_md
        assert dag.is_paused_upon_creation is True
        assert dag.catchup is False
        assert dag.max_active_runs == 1
        assert "baton" in dag.tags
        for task in dag.tasks:
            assert task.doc_md, f"{task.task_id} has no docs"
            assert task.owner == "data-platform"
            assert task.execution_timeout is not None
            assert task.on_failure_callback


def test_daily(dags: dict[str, Any]) -> None:
    assert dags["spark_to_ray"].schedule == "@daily"


def test_files_stay_short() -> None:
    for path in DAGS.glob("*.py"):
        assert len(path.read_text().split("\n")) <= 120, path.name


def test_parsing_opens_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk import BaseHook, Variable

    touched: list[str] = []

    def refuse(what: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> None:
            touched.append(f"{what} {args[1:]}")
            raise AssertionError(f"parsing called {what}")

        return call

    monkeypatch.setattr(socket.socket, "connect", refuse("socket.connect"))
    monkeypatch.setattr(BaseHook, "get_connection", refuse("get_connection"))
    monkeypatch.setattr(Variable, "get", refuse("Variable.get"))
    with pytest.raises(AssertionError):
        socket.create_connection(("127.0.0.1", 9))  # the guard itself works
    touched.clear()
    for path in DAGS.glob("*.py"):
        parse(path)
    assert touched == []


def test_form_has_every_field_and_only_a_dozen(dags: dict[str, Any]) -> None:
    from orchestration.forms import FIELDS

    params = dags["spark_to_ray"].params
    assert set(params) == {"preset", "overrides", *FIELDS}
    assert len(FIELDS) <= 13
