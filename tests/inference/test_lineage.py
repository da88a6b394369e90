"""Which model answers: the one that this run trained, or the one that its plan chose."""

from pathlib import Path

import pytest

from handoff.artifact import Artifact
from handoff.errors import ConfigError
from handoff.manifest import now
from handoff.publish import staging
from handoff.run_dir import RunDir, StageRecord
from handoff.stages import flow
from handoff.store import Store
from inference.config import InferenceConfig
from inference.lineage import find_inputs


@pytest.fixture
def models(store: Store, tiny_corpus: Artifact) -> list[Artifact]:
    made = []
    for name in ("first", "second"):
        with staging(store, "model", {"name": name}, [tiny_corpus]) as place:
            Path(place.uri("config.json")).write_text("{}")
            made.append(place.publish())
    return made


@pytest.mark.parametrize(("stages", "expected"), [(flow("training"), 0), (flow("inference"), 1)])
def test_the_runs_kind_decides(
    stages: tuple[str, ...], expected: int, models: list[Artifact], store: Store, tmp_path: Path
) -> None:
    run = RunDir(str(tmp_path / "run"))
    run.create(store.root, {}, stages)
    for stage, model in zip(("train", "plan"), models, strict=True):
        run.save(StageRecord(stage=stage, status="success", started=now(), ended=now(), artifact=model.id))
    assert find_inputs(run, InferenceConfig(baseline_prompts=0)).tuned.id == models[expected].id


def test_a_training_run_without_a_model_does_not_fall_back(store: Store, tmp_path: Path) -> None:
    run = RunDir(str(tmp_path / "run"))
    run.create(store.root, {})
    with pytest.raises(ConfigError, match="the train stage has made no artifact"):
        find_inputs(run, InferenceConfig())
