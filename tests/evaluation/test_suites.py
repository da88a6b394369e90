"""Suites of lm-eval: what is said without it, and a small suite of local files where it is installed."""

import importlib.util
import json
from pathlib import Path

import pytest

from evaluation import suites
from evaluation.config import EvaluationConfig
from evaluation.pool import Contender
from handoff.errors import ConfigError
from handoff.publish import describe_in_place, staging
from handoff.store import Store
from tests.support import VERSES

INSTALLED = importlib.util.find_spec("lm_eval") is not None
TASK = """task: verses
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{start}}}}"
doc_to_target: 0
doc_to_choice: "{{{{[right, wrong]}}}}"
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""


def config(metric: str = "suite:verses/acc") -> EvaluationConfig:
    return EvaluationConfig.model_validate({"gate": [{"metric": metric, "against": "base"}]})


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Task files of a deployment: choose how a verse goes on."""
    place = tmp_path / "suites"
    place.mkdir()
    rows = []
    for number, verse in enumerate(VERSES[:6]):
        start, _, right = verse.partition(" ")
        rows.append({"start": start, "right": f" {right}", "wrong": f" {VERSES[number + 1]}"})
    (place / "verses.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (place / "verses.yaml").write_text(TASK.format(data=place / "verses.jsonl"))
    monkeypatch.setenv(suites.VARIABLE, str(place))
    return place


@pytest.mark.skipif(INSTALLED, reason="lm-eval is installed")
def test_a_suite_without_lm_eval_is_an_error_that_names_the_extra(directory: Path) -> None:
    with pytest.raises(ConfigError, match=r"lm-eval is not installed here\. Remedy: install the extra `suites`"):
        suites.check_suites(config())
    suites.check_suites(EvaluationConfig())


def test_changed_task_files_make_another_evaluation(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = suites.identity_of(config())
    assert before["suites"] == ["verses/acc"] and suites.identity_of(EvaluationConfig()) == {}
    (directory / "verses.jsonl").write_text("{}")
    assert suites.identity_of(config()) != before
    monkeypatch.delenv(suites.VARIABLE)
    with pytest.raises(ConfigError, match=r"BATON_SUITES is not set where evaluate runs.*Remedy: point it at"):
        suites.identity_of(config())


@pytest.mark.skipif(not INSTALLED, reason="the optional extra `suites` (lm-eval) is not installed")
def test_a_suite_of_local_files_gives_a_value_per_document(
    ray_cluster: None, directory: Path, store: Store, tiny_model: Path
) -> None:
    with staging(store, "model", {"source": "tiny"}, []) as place:
        model = place.publish(in_place=[describe_in_place(str(f)) for f in sorted(tiny_model.iterdir())])
    suites.check_suites(config())
    with pytest.raises(ConfigError, match=r"has no task rhymes .known: verses."):
        suites.check_suites(config("suite:rhymes/acc"))
    found = suites.run_suites({"tuned": Contender.of(model), "base": Contender.of(model)}, config())
    values, higher_is_better = found["verses/acc"]
    assert higher_is_better and values["tuned"] == values["base"] and len(values["tuned"]) == 6
    assert set(values["tuned"]) <= {0.0, 1.0}
    with pytest.raises(ConfigError, match=r"suite:verses/f1 is no metric with a value per document.*take one of acc"):
        suites.run_suites({"tuned": Contender.of(model)}, config("suite:verses/f1"))
