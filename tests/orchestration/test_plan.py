"""The plan: a run's directory for a sound request, a message for another, and nothing to do where nothing changed."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from handoff.artifact import Artifact
from handoff.errors import ArtifactError, BatonError, ConfigError, EngineUnavailable, InfrastructureError, SourceError
from handoff.manifest import now
from handoff.publish import staging
from handoff.run_dir import RunDir, StageRecord
from handoff.store import Store
from orchestration import preflight
from orchestration.form_fields import TRAINING
from orchestration.plan import NothingToDo, Request, plan_inference, plan_training
from orchestration.unchanged import stamp_of

NOT_A_MODEL = "/data/model/llama"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A deployment of its own, in which engines answer."""
    for name in ("BATON_STORAGE", "BATON_RUNS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BATON_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(preflight, "check_spark", lambda conn_id, cache: "Spark local[*]")
    monkeypatch.setattr(preflight, "check_ray", lambda conn_id, *groups: "Ray here")
    monkeypatch.setattr(preflight, "ray_nodes", lambda conn_id: [])
    return tmp_path / "home"


@pytest.fixture
def books(tmp_path: Path) -> Path:
    directory = tmp_path / "books"
    directory.mkdir()
    (directory / "a.txt").write_text("To be, or not to be.")
    return directory


@pytest.fixture
def values(books: Path, tmp_path: Path, tiny_model: Path) -> dict[str, Any]:
    model = shutil.copytree(tiny_model, tmp_path / "base")
    return {"preset": "tiny", "source": f"{books}/*.txt", "base_model": str(model)}


def request(values: dict[str, Any], run_type: str = "manual", promoted: Any = (), **others: Any) -> Request:
    return Request("dag", "run-1", run_type, values, lambda: promoted, **others)


def test_a_sound_request_becomes_a_run_directory(home: Path, values: dict[str, Any]) -> None:
    run = RunDir(plan_training(request(values)))
    assert run.uri == str(home / "runs" / "dag" / "run-1")
    record = run.record("plan")
    assert record and record.status == "success" and "1 raw files" in record.headline
    assert run.config["training"]["base"]["source"] == values["base_model"]


def test_runs_of_two_dags_with_one_id_do_not_meet(home: Path, values: dict[str, Any]) -> None:
    other = Request("other", "run-1", "manual", values)
    assert plan_training(request(values)) != plan_training(other)


def test_every_fault_is_told_and_nothing_is_left_behind(home: Path, values: dict[str, Any]) -> None:
    with pytest.raises(BatonError) as caught:
        plan_training(request({**values, "source": "/nowhere/*.txt", "base_model": "/no/model"}))
    assert "corpus: " in str(caught.value) and "base model: " in str(caught.value)
    assert not home.exists() or not list(home.rglob("run.json"))


@pytest.mark.parametrize(("user", "kind"), [(True, BatonError), (False, InfrastructureError)])
def test_a_fault_of_the_user_decides_whether_a_retry_helps(user: bool, kind: type[Exception]) -> None:
    def look(error: Exception) -> Callable[[], str]:
        def raise_() -> str:
            raise error

        return raise_

    checks = {"Ray": look(EngineUnavailable("no Ray answers")), "corpus": look(SourceError("no file"))}
    if not user:
        checks["corpus"] = look(EngineUnavailable("no store answers"))
    with pytest.raises(kind) as caught:
        preflight.run_checks(checks)
    assert "Ray: no Ray answers" in str(caught.value) and "corpus: no" in str(caught.value)
    assert type(caught.value) is kind


# -- nothing to do


@pytest.fixture
def promoted(home: Path, values: dict[str, Any]) -> dict[str, Any]:
    """The event of a promotion whose run got to its end."""
    run = RunDir(plan_training(request(values)))
    run.save(StageRecord(stage="predict", status="success", started=now(), ended=now()))
    plan = run.record("plan")
    assert plan
    return {"model": "tiny", "version": "7", "stamp": plan.metrics["stamp"], "run_dir": run.uri}


def scheduled(values: dict[str, Any], events: list[dict[str, Any]]) -> Request:
    return Request("dag", "run-2", "scheduled", values, lambda: events)


def test_a_scheduled_run_with_nothing_new_says_why(values: dict[str, Any], promoted: dict[str, Any]) -> None:
    other = {**promoted, "model": "another", "stamp": "0" * 16}
    with pytest.raises(NothingToDo, match="those of tiny version 7, promoted by run run-1: nothing to do"):
        plan_training(scheduled(values, [other, promoted]))


@pytest.mark.parametrize("run_type", ["manual", "backfill"])
def test_a_run_that_a_person_wants_goes_through(
    run_type: str, values: dict[str, Any], promoted: dict[str, Any]
) -> None:
    assert plan_training(request(values, run_type, [promoted]))


def change_a_file(values: dict[str, Any], promoted: dict[str, Any], books: Path) -> None:
    (books / "a.txt").write_text("To be, or not to be; that.")


def touch_a_file(values: dict[str, Any], promoted: dict[str, Any], books: Path) -> None:
    os.utime(books / "a.txt", (1, 1))


def add_a_file(values: dict[str, Any], promoted: dict[str, Any], books: Path) -> None:
    (books / "b.txt").write_text("That is the question.")


def change_the_base_model(values: dict[str, Any], promoted: dict[str, Any], books: Path) -> None:
    os.utime(Path(values["base_model"]) / "model.safetensors", (1, 1))


def change_a_setting(values: dict[str, Any], promoted: dict[str, Any], books: Path) -> None:
    values["max_steps"] = 5


def promote_another_since(values: dict[str, Any], promoted: dict[str, Any], books: Path) -> None:
    promoted["stamp"] = "f" * 16


def lose_the_predictions(values: dict[str, Any], promoted: dict[str, Any], books: Path) -> None:
    run = RunDir(promoted["run_dir"])
    run.save(StageRecord(stage="predict", status="failed", started=now(), ended=now()))


def remove_the_run(values: dict[str, Any], promoted: dict[str, Any], books: Path) -> None:
    promoted["run_dir"] = "/nowhere"


@pytest.mark.parametrize(
    "change",
    [change_a_file, touch_a_file, add_a_file, change_the_base_model, change_a_setting, promote_another_since,
     lose_the_predictions, remove_the_run],
)  # fmt: skip
def test_a_scheduled_run_with_something_new_runs(
    change: Callable[..., None], values: dict[str, Any], promoted: dict[str, Any], books: Path
) -> None:
    change(values, promoted, books)
    assert plan_training(scheduled(values, [promoted]))


def test_a_change_of_an_evaluation_file_counts(home: Path, values: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "evaluation.txt"
    file.write_text("Who's there?")
    values["overrides"] = {"corpus": {"decontamination": {"files": [str(file)]}}}
    config = TRAINING.build(values)
    before = stamp_of(config)
    file.write_text("Nay, answer me: stand, and unfold yourself.")
    assert stamp_of(config) != before


def test_a_change_of_the_code_counts(home: Path, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    config = TRAINING.build(values)
    before = stamp_of(config)
    assert stamp_of(config) == before
    monkeypatch.setattr("orchestration.unchanged.current_producer", lambda: SimpleNamespace(commit="another"))
    assert stamp_of(config) != before


# -- the model of a run of inference


@pytest.fixture
def model(home: Path, tiny_corpus: Artifact) -> Artifact:
    store = Store(str(home / "artifacts"))
    with staging(store, "model", {"source": "base"}, []) as place:
        Path(place.uri("config.json")).write_text("{}")
        return place.publish()


def test_the_model_of_the_event_answers(model: Artifact) -> None:
    run = RunDir(
        plan_inference(request({"model_name": None}, "asset_triggered", trigger={"directory": model.directory}))
    )
    assert run.stages == ("plan", "predict", "report")
    assert run.artifact("plan").id == model.id and run.config["model"]["path"] == model.directory


def test_a_completion_longer_than_the_model_is_refused_in_the_plan(home: Path, tiny_corpus: Artifact) -> None:
    with staging(Store(str(home / "artifacts")), "model", {"source": "base"}, []) as place:
        Path(place.uri("config.json")).write_text('{"max_position_embeddings": 512}')
        model = place.publish()
    run = RunDir(plan_inference(request({"model": model.directory, "max_new_tokens": 511})))
    assert (
        record := run.record("plan")
    ) and "engine vllm advised (configured: transformers): on a CPU" in record.headline
    with pytest.raises(BatonError, match=r"has 512 positions, and inference.max_new_tokens .* is 513\. Remedy: lower"):
        plan_inference(request({"model": model.directory, "max_new_tokens": 512}))


@pytest.mark.parametrize(
    ("section", "key", "most"),
    [("training", "seq_len", 512), ("evaluation", "max_tokens", 512), ("inference", "max_new_tokens", 511)],
)
def test_lengths_beyond_the_base_models_positions_are_refused(
    home: Path, values: dict[str, Any], section: str, key: str, most: int
) -> None:
    for length in (most, most + 1, 99_999):
        asked = request({**values, "overrides": {section: {key: length}}})
        if length == most:
            assert plan_training(asked)
            continue
        with pytest.raises(BatonError, match=rf"the model has 512 positions, and {section}\.{key}"):
            plan_training(asked)


def test_lora_targets_are_looked_for_in_the_plan(home: Path, values: dict[str, Any]) -> None:
    values |= {"method": "lora", "overrides": {"training": {"lora": {"targets": ["q_proj", "query"]}}}}
    with pytest.raises(
        BatonError, match=r"LlamaForCausalLM has no module query\. Remedy: choose of down_proj, gate_proj"
    ):
        plan_training(request(values))


@pytest.mark.parametrize("part", ["directory", "data"])
def test_a_model_by_its_path_as_people_copy_it(part: str, model: Artifact) -> None:
    assert RunDir(plan_inference(request({"model": getattr(model, part)}))).artifact("plan").id == model.id


@pytest.mark.parametrize("trigger", [{}, {"directory": 3}, {"directory": "/etc/passwd"}, {"directory": "s3://x/model"}])
def test_an_event_that_somebody_made_up_is_refused(trigger: dict[str, Any], model: Artifact) -> None:
    with pytest.raises(ConfigError, match="Remedy"):
        plan_inference(request({}, "asset_triggered", trigger=trigger))


def test_no_model_at_all(home: Path) -> None:
    with pytest.raises(ConfigError, match=r"no model was chosen. Remedy: give model_name"):
        plan_inference(request({}))


def test_a_directory_that_is_no_model(home: Path) -> None:
    with pytest.raises(ConfigError, match="is no model artifact"):
        plan_inference(request({"model": NOT_A_MODEL}))


def test_a_model_of_another_store(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not in this deployment's store"):
        plan_inference(request({"model": f"{tmp_path}/model/model-0123456789abcdef"}))


def test_a_model_that_is_gone(home: Path) -> None:
    with pytest.raises(ArtifactError, match="does not exist"):
        plan_inference(request({"model": f"{home}/artifacts/model/model-0123456789abcdef"}))


def test_a_registered_model(model: Artifact, home: Path) -> None:
    from registry.client import open_registry

    client = open_registry().client
    client.create_registered_model("poet")
    for tags in ({"baton.directory": model.directory}, {}):
        client.create_model_version("poet", source=Path(model.directory).as_uri(), tags=tags)
    client.set_registered_model_alias("poet", "champion", "1")
    for chosen in ({"model_name": "poet"}, {"model_name": "poet", "version": 1}):
        run = RunDir(plan_inference(request(chosen)))
        plan = run.record("plan")
        assert plan and plan.artifact == model.id and plan.metrics["model"] == "poet version 1"
    with pytest.raises(ConfigError, match="poet version 2 was not registered by a promotion"):
        plan_inference(request({"model_name": "poet", "version": 2}))
    with pytest.raises(ConfigError, match=r"has no poet with alias nobody. Remedy: choose one of poet"):
        plan_inference(request({"model_name": "poet", "alias": "nobody"}))
    with pytest.raises(ConfigError, match="has no novelist"):
        plan_inference(request({"model_name": "novelist"}))
