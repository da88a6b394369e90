"""Every stage after the corpus publishes to an object store and reads from it: run directory, artifacts, checkpoints."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from evaluation.config import EvaluationConfig, gate_against_base
from evaluation.job import evaluate
from handoff.artifact import Artifact
from handoff.manifest import now
from handoff.run_dir import RunDir, StageRecord
from handoff.store import Store, resolve
from handoff.verify import verify_chain
from inference.config import InferenceConfig
from inference.job import main_stage as predict
from orchestration.chosen_model import find_model
from orchestration.run_config import ModelChoice
from registry.client import open_registry
from registry.config import PromotionConfig
from registry.promote import promote
from reporting.report import body as report
from tests.inference.support import publish_models
from tests.support import publish_corpus
from training.config import BaseModelConfig, TrainingConfig
from training.job import CHECKPOINTS, train


@pytest.fixture(scope="module")
def remote(object_store: str) -> Store:
    return Store(f"{object_store}/artifacts")


@pytest.fixture(scope="module")
def corpus(remote: Store, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    raw = tmp_path_factory.mktemp("raw") / "verses.txt"
    return publish_corpus(remote, raw, {"train": 64, "validation": 8, "test": 8}, files=2)


@pytest.fixture(scope="module")
def tuned(remote: Store, corpus: Artifact, tiny_model: Path) -> Artifact:
    return publish_models(remote, tiny_model, corpus)[1]


@pytest.fixture(scope="module")
def start(object_store: str, remote: Store, corpus: Artifact, tiny_model: Path) -> Callable[..., RunDir]:
    """``start("name", train=tuned)``: a run directory in the object store; the named stages have made these artifacts."""
    training = TrainingConfig(
        base=BaseModelConfig(source=str(tiny_model)), method="full", seq_len=32, max_steps=3, learning_rate=1e-3,
        zero_stage=3, num_workers=2, cpus_per_worker=1, checkpoint_every_steps=2,
    )  # fmt: skip
    sections = {
        "training": training,
        "evaluation": EvaluationConfig(num_actors=1, max_passages=4, gate=gate_against_base(2)),
        "promotion": PromotionConfig(model_name="poet"),
        "inference": InferenceConfig(
            held_out_prompts=2, opening_words=6, baseline_prompts=2, max_new_tokens=4, num_actors=1
        ),
    }

    def make(name: str, **made: Artifact) -> RunDir:
        run = RunDir(f"{object_store}/runs/{name}")
        run.create(remote.root, {k: v.model_dump(mode="json") for k, v in sections.items()})
        for stage, artifact in {"corpus": corpus, **made}.items():
            run.save(StageRecord(stage=stage, status="success", started=now(), ended=now(), artifact=artifact.id))
        return run

    return make


@pytest.fixture(scope="module")
def evaluated(ray_cluster: None, start: Callable[..., RunDir], tuned: Artifact) -> Artifact:
    return done(start("evaluated", train=tuned), "evaluate", evaluate)


def done(run: RunDir, stage: str, body: Callable[[RunDir, StageRecord], Any]) -> Artifact:
    """Run a stage, and open what it made, digests included."""
    with run.stage(stage) as record:
        body(run, record)
    assert not record.reused
    made = run.artifact(stage, digests=True)
    assert made.directory.startswith("s3://bucket/artifacts/")
    return made


def test_evaluate(evaluated: Artifact, remote: Store) -> None:
    (metrics,) = evaluated.files()
    filesystem, path = resolve(metrics)
    assert json.loads(filesystem.open_input_stream(path).read()) == evaluated.manifest.facts
    assert evaluated.manifest.facts["splits"]["test"]["ratio"] != 1, "two models were scored"
    assert [link.problems for link in verify_chain(remote, evaluated.id) if link.problems] == []


def test_promote(
    start: Callable[..., RunDir], tuned: Artifact, evaluated: Artifact, remote: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = start("promoted", train=tuned)
    with run.stage("evaluate") as record:
        evaluate(run, record)
    assert (record.artifact, record.reused) == (evaluated.id, True)
    with run.stage("promote") as record:
        promote(run, record)
    assert record.artifact == tuned.id
    assert open_registry().client.get_model_version_by_alias("poet", "champion").source == tuned.directory
    monkeypatch.setenv("BATON_STORAGE", remote.root)
    assert find_model(ModelChoice(name="poet"))[0].id == tuned.id, "a run of inference finds it"


def test_predict(ray_cluster: None, start: Callable[..., RunDir], tuned: Artifact, remote: Store) -> None:
    predictions = done(start("predicted", train=tuned), "predict", predict)
    rows = [row for file in predictions.files() for row in pq.read_table(file).to_pylist()]
    assert [row["source"] for row in rows] == ["held-out"] * 2 + ["modern"] * 12
    assert all(row["error"] is None for row in rows)
    assert [link.problems for link in verify_chain(remote, predictions.id) if link.problems] == []


def test_report(start: Callable[..., RunDir], tuned: Artifact, evaluated: Artifact) -> None:
    run = start("reported", train=tuned, evaluate=evaluated)
    with run.stage("report") as record:
        report(run, record)
    page = run.read("report.html").decode()
    assert tuned.id in page and evaluated.id in page
    assert record.metrics["path"] == f"{run.uri}/report.html"


@pytest.mark.faults
def test_train_to_predictions(
    ray_cluster: None, start: Callable[..., RunDir], remote: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = start("whole")
    model = done(run, "train", train)
    assert len(model.manifest.facts["steps"]) == 3 and "model.safetensors" in {f.path for f in model.manifest.files}
    assert not list(remote.files(CHECKPOINTS)), "checkpoints are gone once the model is published"
    evaluation = done(run, "evaluate", evaluate)
    done(run, "promote", promote)
    predictions = done(run, "predict", predict)
    assert evaluation.manifest.parents[0].id == predictions.manifest.parents[0].id == model.id
    assert [link.problems for link in verify_chain(remote, predictions.id) if link.problems] == []
