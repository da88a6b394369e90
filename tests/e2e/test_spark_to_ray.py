"""The real DAG, through a real Airflow scheduler, Spark, Ray, DeepSpeed ZeRO-3 on two workers, and MLflow."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from handoff.artifact import open_artifact
from handoff.run_dir import STAGES
from handoff.verify import main as verify
from tests.e2e.conftest import Baton, Ran

LONGEST_LOG_LINES = 300


@pytest.fixture(scope="module")
def conf(tiny_model: Path) -> dict[str, Any]:
    return {"preset": "tiny", "base_model": str(tiny_model)}


@pytest.fixture(scope="module")
def first(baton: Baton, conf: dict[str, Any]) -> Ran:
    """One run from raw text to predictions, shared by the tests below."""
    ran = baton.run(conf)
    assert ran.code == 0, ran.printed
    return ran


def test_every_stage_succeeds_and_says_so(first: Ran) -> None:
    assert [(r.stage, r.status) for r in first.directory.records()] == [(s, "success") for s in STAGES]
    for stage in STAGES:
        assert re.search(rf"\b{stage}\b.*\d s", first.printed), first.printed
    assert "perplexity" in first.printed
    assert first.printed.strip().split("\n")[-1].endswith("report.html")


def test_the_chain_leads_from_predictions_to_raw(first: Ran, capsys: pytest.CaptureFixture[str]) -> None:
    predictions = first.directory.artifact("predict")
    kinds, todo = set(), [predictions]
    while todo:
        artifact = todo.pop()
        kinds.add(artifact.manifest.kind)
        todo += [open_artifact(artifact.store, p.id) for p in artifact.manifest.parents]
    assert kinds == {"predictions", "model", "corpus", "raw"}
    assert verify([predictions.directory]) == 0
    assert "all whole" in capsys.readouterr().out


def test_one_changed_byte_of_a_model_is_found_from_the_predictions(
    first: Ran, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = next(Path(p) for p in first.directory.artifact("train").files() if p.endswith("model.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    try:
        assert verify([first.directory.artifact("predict").directory]) == 1
        assert "model.safetensors was changed" in capsys.readouterr().out
    finally:
        data[-1] ^= 1
        weights.write_bytes(data)


def test_deepspeed_trained_on_two_workers_with_zero_3(first: Ran) -> None:
    facts = first.directory.artifact("train").manifest.facts
    assert (facts["world_size"], facts["zero_stage"], len(facts["steps"])) == (2, 3, 4)
    assert facts["train_tokens"] == 4 * 2 * 64


def test_logs_are_short_and_plain(baton: Baton, first: Ran) -> None:
    api = baton.api()
    for stage in STAGES:
        log = api.task_log("spark_to_ray", first.run_id, stage)
        assert len(log.split("\n")) <= LONGEST_LOG_LINES, f"{stage}: {len(log.splitlines())} lines"
        assert "\x1b[" not in log, f"{stage} prints terminal escapes"
        assert f"{stage} " in log


def test_the_report_opens_from_its_link(baton: Baton, first: Ran) -> None:
    api = baton.api()
    links = api._call("GET", f"/api/v2/dags/spark_to_ray/dagRuns/{first.run_id}/taskInstances/report/links")
    url = links["extra_links"]["Report"]
    page = api._client.get(url)
    assert page.status_code == 200 and "<html" in page.text
    assert page.text.encode() == first.directory.read("report.html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert httpx.get(f"{baton.services.ui}{url}").status_code == 401  # not without logging in
    assert api._client.get("/baton/runs/spark_to_ray/..%2f..%2fservices.json/report.html").status_code in (404, 422)


def test_the_champion_is_the_tuned_model(baton: Baton, first: Ran) -> None:
    from mlflow import MlflowClient

    champion = MlflowClient(f"sqlite:///{baton.home / 'mlflow.db'}").get_model_version_by_alias("tiny", "champion")
    assert champion.tags["baton.model"] == first.directory.artifact("train").id
    assert Path(urlsplit(champion.source).path) == Path(first.directory.artifact("train").directory)


def test_the_same_run_again_writes_nothing_twice(baton: Baton, first: Ran, conf: dict[str, Any]) -> None:
    artifacts = baton.home / "artifacts"
    before = {p: p.stat().st_mtime_ns for p in artifacts.rglob("*") if p.is_file()}
    again = baton.run(conf)
    assert again.code == 0, again.printed
    assert {p: p.stat().st_mtime_ns for p in artifacts.rglob("*") if p.is_file()} == before
    for stage in ("corpus", "train", "evaluate", "predict"):
        ours, theirs = again.directory.record(stage), first.directory.record(stage)
        assert ours.reused and ours.artifact == theirs.artifact
        assert "reused" in baton.api().task_log("spark_to_ray", again.run_id, stage)


def test_a_failed_gate_stops_before_promotion(baton: Baton, first: Ran, conf: dict[str, Any]) -> None:
    ran = baton.run({**conf, "max_perplexity_ratio": 0.01, "model_name": "never"})
    assert ran.code == 1
    states = baton.api().task_states("spark_to_ray", ran.run_id)
    assert (states["evaluate"], states["promote"], states["predict"], states["report"]) == (
        "failed", "upstream_failed", "upstream_failed", "success",
    )  # fmt: skip
    error = ran.directory.record("evaluate").error
    assert "0.01" in error and len(re.findall(r"\d+\.\d+", error)) >= 3
    assert "GateFailed" in error and "evaluate failed" in ran.printed
    assert b"0.01" in ran.directory.read("report.html")


def test_a_misspelt_key_fails_in_the_plan_and_nothing_starts(baton: Baton) -> None:
    ran = baton.run({"preset": "tiny", "overrides": {"training": {"max_stepz": 1}}})
    assert ran.code == 1
    states = baton.api().task_states("spark_to_ray", ran.run_id)
    assert states["plan"] == "failed" and states["corpus"] == "upstream_failed" and states["report"] == "skipped"
    assert "training.max_stepz" in ran.printed and "max_steps" in ran.printed
    assert not Path(ran.directory.uri).exists()
