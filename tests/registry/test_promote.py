"""Promotion: only a model that passed the gate, once per model, with all that MLflow needs to tell where it came from."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import ValidationError

from handoff.artifact import Artifact
from handoff.errors import ConfigError, EngineUnavailable, GateFailed
from handoff.facts import EvaluationFacts, Measured, ModelFacts, SplitResult, Step
from handoff.gate import Gate, Verdict
from handoff.home import PROJECT
from handoff.job import run_stage
from handoff.manifest import now
from handoff.publish import staging
from handoff.run_dir import RunDir, StageRecord
from handoff.store import Store
from registry import lock
from registry.check import check_registry
from registry.client import find_champion, open_registry
from registry.config import PromotionConfig
from registry.promote import promote
from registry.tracking import LiveRun
from tests.e2e.waiting import wait_until
from training.config import BaseModelConfig, LoraConfig, TrainingConfig

STEPS = [
    Step(step=n, loss=4.0 - n / 10, learning_rate=1e-3, tokens=100 * n, tokens_per_second=50.0, grad_norm=1.0,
         seconds=2.0 * n, time_ms=1_790_000_000_000 + 2000 * n)
    for n in (1, 2, 3)
]  # fmt: skip


def publish_model(store: Store, corpus: Artifact, name: str) -> Artifact:
    with staging(store, "model", {"source": "base"}, []) as place:
        Path(place.uri("config.json")).write_text("{}")
        base = place.publish()
    with staging(store, "model", {"name": name}, [corpus, base]) as place:
        Path(place.uri("config.json")).write_text(json.dumps({"name": name}))
        return place.publish(facts=ModelFacts(steps=STEPS, train_tokens=300, seconds=6.0))


def make_run(directory: Path, store: Store, model: Artifact, *, ratio: float = 0.7, name: str = "poet") -> RunDir:
    """A run whose evaluation is done: the gate's limit is 0.9, and it saw what holds the alias now."""
    split = SplitResult(
        base=Measured(perplexity=60.0, bits_per_byte=2.0),
        tuned=Measured(perplexity=60.0 * ratio, bits_per_byte=1.5),
        ratio=ratio,
    )
    with staging(store, "evaluation", {"ratio": ratio}, [model]) as place:
        Path(place.uri("results.json")).write_text("{}")
        evaluation = place.publish(facts=EvaluationFacts(splits={"test": split}))
    verdict = Verdict(
        metric="perplexity", against="base", limit=0.9, passed=ratio <= 0.9, value=60.0 * ratio, reference=60.0,
        change=ratio, low=ratio - 0.1, high=ratio + 0.1, why="better",
    )  # fmt: skip
    champion = find_champion(open_registry(), name, "champion")
    version = champion.version if champion else None
    gate = Gate(split="test", passed=verdict.passed, verdicts=(verdict,), champion_version=version)
    run = RunDir(str(directory))
    training = TrainingConfig(base=BaseModelConfig(source="/models/base"), lora=LoraConfig(rank=4))
    config = {
        "training": training.model_dump(mode="json"),
        "promotion": PromotionConfig(model_name=name).model_dump(),
    }
    run.create(store.root, config)
    for stage, artifact, told in (("train", model, {}), ("evaluate", evaluation, {"gate": gate.model_dump()})):
        times = {"started": now(), "ended": now()}
        run.save(StageRecord(stage=stage, status="success", artifact=artifact.id, metrics=told, **times))
    return run


def promoted(run: RunDir) -> StageRecord:
    with run.stage("promote") as record:
        promote(run, record)
    return record


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BATON_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "home"


def client(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def test_the_embedded_mlflow_tells_the_whole_run(
    home: Path, store: Store, tiny_corpus: Artifact, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = publish_model(store, tiny_corpus, "first")
    run = make_run(tmp_path / "runs" / "manual-1", store, model)
    assert run_stage("promote", promote, [run.uri]) == 0
    record = run.record("promote")
    assert record is not None
    assert (
        record.metrics["model"] == "poet" and record.metrics["version"] == "1" and record.metrics["alias"] == "champion"
    )
    logging.basicConfig(force=True, handlers=[logging.NullHandler()])  # the job's handler writes to this test's output
    output = capfd.readouterr()
    assert output.err == "" and len(output.out.splitlines()) < 10, (
        "MLflow's migrations and warnings stay out of the log"
    )

    mlflow = client(record.metrics["tracking_uri"])
    version = mlflow.get_model_version_by_alias("poet", "champion")
    assert urlsplit(version.source).path == model.directory and version.tags["baton.model"] == model.id
    logged = mlflow.get_run(record.metrics["run_id"])
    assert logged.info.run_name == "manual-1" and logged.info.status == "FINISHED"
    assert logged.data.params["lora.rank"] == "4" and logged.data.params["base.source"] == "/models/base"
    assert logged.data.metrics["test/perplexity_tuned"] == pytest.approx(42.0)
    assert logged.data.metrics["train/train_tokens"] == 300
    judged = {
        name.rsplit("/", 1)[1]: v for name, v in logged.data.metrics.items() if name.startswith("gate/perplexity_")
    }
    assert judged == {"value": 42, "reference": 60, "change": 0.7, "low": pytest.approx(0.6), "high": pytest.approx(0.8), "limit": 0.9, "passed": 1}  # fmt: skip
    assert "| perplexity | 42 | base 60 | 0.700 [0.600, 0.800] | 0.9 | passed: better |" in version.description
    losses = mlflow.get_metric_history(logged.info.run_id, "train/loss")
    assert [(m.step, round(m.value, 3)) for m in losses] == [(1, 3.9), (2, 3.8), (3, 3.7)]
    assert losses[1].timestamp - losses[0].timestamp == 2000
    assert logged.data.tags["baton.corpus"] == tiny_corpus.id
    assert logged.data.tags["baton.base"].startswith("model-") and logged.data.tags["baton.base"] != model.id
    assert logged.info.artifact_uri.startswith(home.as_uri())
    assert not list(Path.cwd().iterdir()), "nothing lands in the working directory"


def champion_version(mlflow: Any) -> int:
    return int(mlflow.get_model_version_by_alias("poet", "champion").version)


def test_a_model_is_registered_once_and_its_alias_is_never_moved_back(
    home: Path, store: Store, tiny_corpus: Artifact, tmp_path: Path
) -> None:
    first, second = (publish_model(store, tiny_corpus, name) for name in ("first", "second"))
    run_1 = make_run(tmp_path / "run-1", store, first)
    assert promoted(run_1).metrics["version"] == "1"
    again = promoted(make_run(tmp_path / "run-2", store, first))
    assert again.reused and again.metrics["version"] == "1"
    run_3 = make_run(tmp_path / "run-3", store, second)
    assert promoted(run_3).metrics["version"] == "2"
    mlflow = client(again.metrics["tracking_uri"])
    # A retry of the old promotion, and a rerun of the old run whose evaluation sees today's champion.
    for run in (run_1, make_run(tmp_path / "run-1-again", store, first)):
        with pytest.raises(
            GateFailed, match=r"poet version 1, which was champion before .* Remedy: to go back on purpose"
        ):
            promoted(run)
        assert champion_version(mlflow) == 2
    assert promoted(run_3).reused and champion_version(mlflow) == 2, "a retry of the newest one changes nothing"
    experiment = mlflow.get_experiment_by_name("baton").experiment_id
    assert len(mlflow.search_model_versions("name = 'poet'")) == 2 and len(mlflow.search_runs([experiment])) == 2


def test_a_promotion_whose_evaluation_saw_another_champion_is_refused_and_writes_nothing(
    home: Path, store: Store, tiny_corpus: Artifact, tmp_path: Path
) -> None:
    late = make_run(tmp_path / "late", store, publish_model(store, tiny_corpus, "late"))
    fast = promoted(make_run(tmp_path / "fast", store, publish_model(store, tiny_corpus, "fast")))
    with pytest.raises(
        GateFailed, match=r"champion was no version, and now it is version 1\. Remedy: run the evaluate"
    ):
        promoted(late)
    mlflow = client(fast.metrics["tracking_uri"])
    assert champion_version(mlflow) == 1 and len(mlflow.search_model_versions("name = 'poet'")) == 1
    evaluated_again = make_run(tmp_path / "late-again", store, publish_model(store, tiny_corpus, "late"))
    assert promoted(evaluated_again).metrics["version"] == "2" and champion_version(mlflow) == 2


def test_of_promotions_that_race_one_gets_the_alias_and_the_others_are_told(
    home: Path, store: Store, tiny_corpus: Artifact, tmp_path: Path
) -> None:
    registry = open_registry()
    promoted(make_run(tmp_path / "first", store, publish_model(store, tiny_corpus, "first")))
    names = ("second", "third", "fourth")
    runs = [make_run(tmp_path / name, store, publish_model(store, tiny_corpus, name)) for name in names]
    jobs = [
        subprocess.Popen(
            [sys.executable, "-m", "registry.promote", run.uri], stdout=subprocess.PIPE, text=True, cwd=PROJECT
        )
        for run in runs
    ]
    said = [job.communicate()[0] for job in jobs]
    codes = [job.returncode for job in jobs]
    assert sorted(codes) == [0, 2, 2], said
    winner = runs[codes.index(0)].record("promote")
    assert winner and champion_version(registry.client) == int(winner.metrics["version"])
    assert all("run the evaluate stage again" in text for text, code in zip(said, codes, strict=True) if code)


def test_a_lock_whose_holder_died_is_taken_over_and_a_fresh_one_is_waited_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def held(since: datetime) -> None:
        store.write("_locks/x.json", json.dumps({"id": "1", "host": "gone", "since": since.isoformat()}).encode())

    held(now() - lock.LEASE - timedelta(seconds=1))
    with lock.alone(store, "x"):
        assert json.loads(store.read("_locks/x.json"))["host"] == socket.gethostname()
    assert not store.exists("_locks/x.json")
    held(now())
    monkeypatch.setattr(lock, "WAIT_SECONDS", 0.0)
    with pytest.raises(EngineUnavailable, match="held by a promotion on gone"), lock.alone(store, "x"):
        pass


def test_an_interrupted_promotion_is_completed_not_repeated(
    home: Path, store: Store, tiny_corpus: Artifact, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", store, publish_model(store, tiny_corpus, "first"))
    begun = promoted(run)
    mlflow = client(begun.metrics["tracking_uri"])
    mlflow.delete_model_version("poet", begun.metrics["version"])  # as if it had ended before this was made
    again = promoted(run)
    assert not again.reused and again.metrics["run_id"] == begun.metrics["run_id"]
    assert len(mlflow.get_metric_history(begun.metrics["run_id"], "train/loss")) == len(STEPS)


def nothing_is_registered() -> bool:
    return not open_registry().client.search_registered_models()


def test_a_failed_gate_writes_nothing(home: Path, store: Store, tiny_corpus: Artifact, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", store, publish_model(store, tiny_corpus, "first"), ratio=0.95)
    with pytest.raises(GateFailed, match=r"on test, perplexity 57 against the base 60: ratio 0\.950 .*limit 0\.9"):
        promoted(run)
    assert nothing_is_registered()


def test_a_model_about_which_nothing_was_decided_is_not_promoted(
    home: Path, store: Store, tiny_corpus: Artifact, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", store, publish_model(store, tiny_corpus, "first"))
    evaluated = run.record("evaluate")
    assert evaluated
    run.save(evaluated.model_copy(update={"metrics": {}}))
    with pytest.raises(GateFailed, match="Remedy: run the evaluate stage again"):
        promoted(run)
    assert nothing_is_registered()


def test_the_evaluation_of_another_model_does_not_count(
    home: Path, store: Store, tiny_corpus: Artifact, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", store, publish_model(store, tiny_corpus, "first"))
    other = publish_model(store, tiny_corpus, "other")
    run.save(StageRecord(stage="train", status="success", started=now(), artifact=other.id))
    with pytest.raises(GateFailed, match=f"is not an evaluation of {other.id}"):
        promoted(run)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A real tracking server on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = tmp_path / "server"
    place.mkdir()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{place}/m.db", "--artifacts-destination", str(place / "artifacts")]
    with open(place / "log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=place, start_new_session=True)
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).read()
                break
            except OSError:
                assert process.poll() is None, (place / "log").read_text()
                time.sleep(0.25)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


@pytest.mark.server
def test_a_tracking_server_gets_the_files_of_a_model_it_could_not_reach(
    server: str, home: Path, store: Store, tiny_corpus: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_registry(PromotionConfig()) is None, "the embedded one"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    assert check_registry(PromotionConfig()) == f"MLflow at {server}"
    model = publish_model(store, tiny_corpus, "first")
    record = promoted(make_run(tmp_path / "run", store, model))
    mlflow = client(server)
    version = mlflow.get_model_version_by_alias("poet", "champion")
    assert version.source.startswith("mlflow-artifacts:") and version.tags["baton.directory"] == model.directory
    copy = mlflow.download_artifacts(record.metrics["run_id"], "model/config.json", str(tmp_path))
    assert json.loads(Path(copy).read_text()) == {"name": "first"}


def test_an_mlflow_that_does_not_answer_is_named(
    home: Path, store: Store, tiny_corpus: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", store, publish_model(store, tiny_corpus, "first"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(EngineUnavailable, match=r"MLflow at http://127\.0\.0\.1:9 .*Remedy") as error:
        promoted(run)
    assert "secret" not in str(error.value)


def followed(model: Artifact) -> LiveRun:
    """A live run that heard every step of a model's training."""
    live = LiveRun("manual-1", model.id, {"lora.rank": "4"})
    live.begin()
    for entry in STEPS:
        live.step(entry.told())
    live.flush()
    return live


def test_a_training_is_seen_while_it_runs_and_its_promotion_completes_the_same_run(
    home: Path, store: Store, tiny_corpus: Artifact, tmp_path: Path
) -> None:
    model = publish_model(store, tiny_corpus, "first")
    followed(model)
    mlflow = client(f"sqlite:///{home / 'mlflow.db'}")
    experiment = mlflow.get_experiment_by_name("baton").experiment_id
    (live,) = mlflow.search_runs([experiment])
    assert live.info.status == "RUNNING" and live.data.metrics["train/loss"] == pytest.approx(3.7)

    record = promoted(make_run(tmp_path / "runs" / "manual-1", store, model))
    (done,) = mlflow.search_runs([experiment])
    assert done.info.run_id == live.info.run_id == record.metrics["run_id"] and done.info.status == "FINISHED"
    assert [m.step for m in mlflow.get_metric_history(done.info.run_id, "train/loss")] == [1, 2, 3], "no row twice"
    assert done.data.tags["baton.corpus"] == tiny_corpus.id and "test/perplexity_tuned" in done.data.metrics


def test_the_machine_is_watched_while_a_model_trains(
    home: Path, store: Store, tiny_corpus: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.tracking.SYSTEM_SECONDS", 0.05)
    model = publish_model(store, tiny_corpus, "first")
    live = LiveRun("manual-1", model.id, {})
    live.begin()
    wait_until(lambda: live._system._logging_step > 1, "the monitor has looked twice", seconds=30)
    live.end()
    mlflow = client(f"sqlite:///{home / 'mlflow.db'}")
    (run,) = mlflow.search_runs([mlflow.get_experiment_by_name("baton").experiment_id])
    seen = {name for name in run.data.metrics if name.startswith("system/")}
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= seen
    assert run.info.status == "RUNNING", "its promotion will end it"


def test_an_mlflow_that_does_not_answer_stops_no_training(
    home: Path, store: Store, tiny_corpus: Artifact, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    followed(publish_model(store, tiny_corpus, "first")).failed()
    assert len([r for r in caplog.records if "does not follow this training" in r.getMessage()]) == 1


# -- what the last stage will refuse is told by the first one


@pytest.mark.parametrize("name", ["latest", "LATEST", "v1", "V12", "champion", "v1a", "version1", "a.b"])
def test_aliases_and_names_are_those_that_mlflow_takes(name: str, tmp_path: Path) -> None:
    """The rules of the configuration against the library itself, in a registry of its own."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils.validation import _validate_model_alias_name, _validate_model_alias_name_reserved

    def taken(check: Any) -> bool:
        try:
            check()
        except (MlflowException, ValidationError):
            return False
        return True

    theirs = taken(lambda: (_validate_model_alias_name(name), _validate_model_alias_name_reserved(name)))
    assert taken(lambda: PromotionConfig(alias=name)) == theirs


@pytest.mark.parametrize("name", [".", "..", "..a", "a..", ".a", "a-b_c.d"])
def test_model_names_are_those_that_mlflow_takes(name: str) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.utils.validation import _validate_model_name

    try:
        _validate_model_name(name)
    except MlflowException:
        with pytest.raises(ValidationError, match="MLflow takes no model name"):
            PromotionConfig(model_name=name)
    else:
        PromotionConfig(model_name=name)


@pytest.mark.parametrize(
    ("uri", "kind", "message"),
    [
        ("{tmp}/mlruns", ConfigError, r"MLflow at .*mlruns refuses: .*Remedy: set MLFLOW_TRACKING_URI to a server"),
        ("redis://somewhere", ConfigError, r"refuses: .*unsupported URI .*Remedy: set MLFLOW_TRACKING_URI"),
        ("postgresql://me:secret@127.0.0.1:9/db", ConfigError, r"refuses: No module named .*Remedy"),
        ("http://127.0.0.1:9", EngineUnavailable, r"refused: .*Remedy: check MLFLOW_TRACKING_URI"),
    ],
)
def test_an_address_that_promotion_cannot_use_is_told_by_plan(
    uri: str, kind: type[Exception], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(tmp=tmp_path))
    with pytest.raises(kind, match=message) as error:
        check_registry(PromotionConfig())
    assert "secret" not in str(error.value)
