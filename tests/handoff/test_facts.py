"""Facts: writers are held to what is declared, readers take what earlier versions wrote; parents are found by kind."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from handoff.artifact import Artifact, load_manifest
from handoff.errors import ArtifactError
from handoff.facts import CorpusFacts, EvaluationFacts, Example, ModelFacts, facts_of
from handoff.gate import gate_of
from handoff.manifest import now
from handoff.publish import staging
from handoff.run_dir import StageRecord
from handoff.store import Store


@pytest.mark.parametrize(
    "facts", [{"dokuments": 3}, {"documents": "many"}, {"examples": [{"reason": "x", "text": "y", "txt": "z"}]}]
)
def test_a_writer_cannot_tell_what_is_not_declared(facts: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CorpusFacts.model_validate(facts)


def told(store: Store, facts: CorpusFacts | EvaluationFacts | None, **others: Any) -> Artifact:
    with staging(store, "corpus", {"facts": facts.told() if facts else None}, others.pop("parents", [])) as place:
        Path(place.uri("a.txt")).write_text("text")
        return place.publish(facts=facts)


def test_what_was_not_set_is_not_written(store: Store) -> None:
    facts = CorpusFacts(documents=2, examples=[Example(reason="few_letters", text="1.1", value=None)])
    made = told(store, facts)
    assert made.manifest.facts == {
        "documents": 2,
        "examples": [{"reason": "few_letters", "text": "1.1", "value": None}],
    }
    assert facts_of(load_manifest(store, made.id), CorpusFacts) == facts
    assert facts_of(told(store, None).manifest, CorpusFacts) == CorpusFacts()


def test_what_other_versions_wrote_besides_is_ignored_at_every_depth(store: Store) -> None:
    measured = {"perplexity": 60.0, "tokens": 9, "bits": 1}
    split = {"base": measured, "tuned": measured, "ratio": 1.0}
    manifest = told(store, None).manifest.model_copy(
        update={"facts": {"splits": {"test": split}, "gate": {"passed": True}}}
    )
    read = facts_of(manifest, EvaluationFacts)
    assert (read.splits["test"].base.tokens, read.splits["test"].ratio) == (9, 1.0)
    model = manifest.model_copy(update={"facts": json.loads('{"steps": [{"step": 1, "loss": 4.0, "new": [1]}]}')})
    assert facts_of(model, ModelFacts).steps[0].loss == 4.0
    with pytest.raises(ArtifactError, match=r"fact steps\.0\.loss"):
        facts_of(model.model_copy(update={"facts": {"steps": [{"step": 1, "loss": "low"}]}}), ModelFacts)


def test_the_gates_decision_is_read_from_the_record() -> None:
    decision = {"split": "test", "ratio": 0.7, "limit": 1.0, "passed": True}  # as earlier releases wrote it
    record = StageRecord(stage="evaluate", started=now(), metrics={"gate": decision})
    gate = gate_of(record)
    assert gate and gate.passed and gate.split == "test" and gate.verdicts == ()
    assert gate_of(None) is gate_of(StageRecord(stage="evaluate", started=now())) is None


def test_a_parent_is_found_by_its_kind_in_whatever_order(tiny_corpus: Artifact, store: Store) -> None:
    raw = tiny_corpus.manifest.parents[0]
    assert tiny_corpus.manifest.parent("raw") == raw.id and tiny_corpus.manifest.parent("model") is None
    for parents in ([tiny_corpus], []):
        child = told(store, None, parents=parents).manifest
        assert child.parent("corpus") == (tiny_corpus.id if parents else None)
    manifest = tiny_corpus.manifest
    second = raw.model_copy(update={"id": "raw-0000000000000000"})
    assert manifest.model_copy(update={"parents": (second, raw)}).parent("raw") == second.id, "the first of several"
