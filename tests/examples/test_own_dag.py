"""The example of a DAG of one's own: it obeys the project's rules, delivers whole models, and never a damaged one."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from handoff.artifact import Artifact
from handoff.publish import staging
from handoff.store import Store
from orchestration.dag_check import check
from orchestration.dag_file import DagFile, load
from orchestration.product_rules import says_what_it_is

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "own_dag.py"


@pytest.fixture(scope="module")
def file() -> DagFile:
    return load(EXAMPLE)


@pytest.fixture
def deliver_newest(file: DagFile, tmp_path: Path) -> Any:
    """The task's function, delivering below ``tmp_path``; takes events, newest first."""
    function = file.dags[0].get_task("deliver_newest").python_callable
    function.__globals__["TARGET"] = str(tmp_path / "served")

    def call(*events: Mapping[str, Any]) -> str:
        from orchestration.assets import PROMOTED_MODEL

        newest = [SimpleNamespace(extra=event) for event in events]
        limited = SimpleNamespace(limit=lambda count: newest[:count])
        return str(function(inlet_events={PROMOTED_MODEL: SimpleNamespace(ascending=lambda oldest_first: limited)}))

    return call


def promoted(store: Store, text: str, name: str = "shakespeare") -> tuple[Artifact, dict[str, Any]]:
    """A model whose one file holds a text, and the event of its promotion."""
    with staging(store, "model", {"text": text}, []) as place:
        Path(place.uri("config.json")).write_text(text)
        model = place.publish()
    return model, {"model": name, "directory": model.directory}


def test_it_obeys_the_rules_and_says_what_it_is(file: DagFile) -> None:
    assert check([EXAMPLE]).findings == []
    assert list(says_what_it_is(file, file.dags[0])) == []


def test_airflow_finds_it() -> None:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(EXAMPLE))
    assert bag.import_errors == {} and set(bag.dags) == {"deliver_model"}


def test_the_link_moves_to_the_newest_promotion_of_the_model(store: Store, deliver_newest: Any, tmp_path: Path) -> None:
    (first, old), (second, new), (_, other) = (
        promoted(store, "one"),
        promoted(store, "two"),
        promoted(store, "three", "another"),
    )
    link = tmp_path / "served" / "shakespeare" / "current"
    assert deliver_newest(other, old) == str(link)
    assert (link / "config.json").read_text() == "one" and link.readlink() == Path(first.id)
    assert deliver_newest(new, other, old) == deliver_newest(new, other, old) == str(link)
    assert (link / "config.json").read_text() == "two" and link.readlink() == Path(second.id)
    assert {path.name for path in link.parent.iterdir()} == {first.id, second.id, "current"}


def test_a_damaged_model_is_not_delivered(store: Store, deliver_newest: Any, tmp_path: Path) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    (first, old), (second, new) = promoted(store, "one"), promoted(store, "two")
    deliver_newest(old)
    Path(second.data, "config.json").write_text("TWO")
    with pytest.raises(AirflowFailException, match=r"config\.json was changed"):
        deliver_newest(new)
    link = tmp_path / "served" / "shakespeare" / "current"
    assert link.readlink() == Path(first.id)


def test_nothing_to_deliver_is_a_skip(deliver_newest: Any) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    with pytest.raises(AirflowSkipException, match="shakespeare was not promoted yet"):
        deliver_newest({"model": "another", "directory": "/nowhere"})
