"""What is declared of stages holds for every run and artifact: one entry is enough, and nothing else is let in."""

from pathlib import Path

import pytest

from handoff.artifact import load_manifest
from handoff.errors import ArtifactError
from handoff.manifest import artifact_dir
from handoff.publish import staging
from handoff.run_dir import RunDir
from handoff.stages import KINDS, STAGES, Flow, Stage, declared, flow
from handoff.store import Store
from tests.support import publish_corpus


@pytest.mark.parametrize("name", ["training", "inference"])
def test_a_flow_begins_with_the_plan_and_ends_with_the_report(name: Flow) -> None:
    names = [stage.name for stage in STAGES]
    stages = flow(name)
    assert (stages[0], stages[-1]) == ("plan", "report") and "predict" in stages
    assert [s for s in names if s in stages] == list(stages) and len(set(names)) == len(names)


def test_kinds_that_stores_already_hold_stay_readable() -> None:
    assert {"raw", "signatures", "corpus", "model", "evaluation", "predictions"} <= set(KINDS)


def test_a_kind_that_no_stage_declares_is_refused_before_any_work(store: Store) -> None:
    with (
        pytest.raises(ValueError, match=r"kind 'survey' .*handoff/stages\.py"),
        staging(store, "survey", {}, []) as place,
    ):
        pytest.fail(f"work began in {place.directory}")


def test_a_manifest_of_an_unknown_kind_cannot_be_read(store: Store, tmp_path: Path) -> None:
    corpus = publish_corpus(store, tmp_path / "verses.txt", {"train": 2})
    path = Path(store.uri(artifact_dir(corpus.id)), "_MANIFEST.json")
    path.write_text(path.read_text().replace('"kind": "corpus"', '"kind": "corpse"'))
    with pytest.raises(ArtifactError, match="cannot be read \\(kind\\)"):
        load_manifest(store, corpus.id)


def test_a_run_has_the_stages_that_it_was_made_with(tmp_path: Path) -> None:
    run = RunDir(str(tmp_path / "run"))
    assert run.stages == flow("training"), "there is no run.json"
    run.create(str(tmp_path / "artifacts"), {}, ("plan", "rehearse", "report"))
    assert run.stages == ("plan", "rehearse", "report")
    assert declared("rehearse") == Stage("rehearse", "", ""), "another version of the code knew it"
