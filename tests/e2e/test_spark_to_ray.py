"""The real DAG, through a real Airflow scheduler, Spark, Ray, DeepSpeed ZeRO-3 on two workers, and MLflow."""

import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from handoff.artifact import open_artifact
from handoff.stages import flow
from handoff.verify import main as verify
from tests.e2e.conftest import PROJECT, Baton, Ran

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
    assert [(r.stage, r.status) for r in first.directory.records()] == [(s, "success") for s in flow("training")]
    for stage in flow("training"):
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
    assert kinds == {"predictions", "prompts", "model", "corpus", "raw"}
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
    for stage in flow("training"):
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


@pytest.fixture(scope="module")
def again(baton: Baton, first: Ran, conf: dict[str, Any]) -> Ran:
    """The same request a second time, while batch_inference waits for a promotion."""
    artifacts = baton.home / "artifacts"
    before = {p: p.stat().st_mtime_ns for p in artifacts.rglob("*") if p.is_file()}
    baton.api().set_paused("batch_inference", False)
    ran = baton.run(conf)
    assert ran.code == 0, ran.printed
    others = (
        d for d in artifacts.iterdir() if d.name not in ("predictions", "prompts")
    )  # batch_inference makes its own
    after = {p: p.stat().st_mtime_ns for directory in others for p in directory.rglob("*") if p.is_file()}
    assert after == {p: t for p, t in before.items() if p in after}, "a published file was written again"
    return ran


def test_the_same_run_again_writes_nothing_twice(baton: Baton, first: Ran, again: Ran) -> None:
    for stage in ("corpus", "train", "evaluate", "predict"):
        ours, theirs = again.directory.record(stage), first.directory.record(stage)
        assert ours.reused and ours.artifact == theirs.artifact
        assert "reused" in baton.api().task_log("spark_to_ray", again.run_id, stage)


def events(baton: Baton, asset: str) -> list[dict[str, Any]]:
    found = baton.api()._call("GET", "/api/v2/assets/events", params={"order_by": "-timestamp", "limit": 100})
    return [event for event in found["asset_events"] if event["name"] == asset]


def test_the_assets_events_tell_the_manifests_facts(baton: Baton, first: Ran) -> None:
    corpus, model = first.directory.artifact("corpus"), first.directory.artifact("train")
    told = next(e for e in events(baton, "corpus_snapshot") if e["source_run_id"] == first.run_id)["extra"]
    assert (told["id"], told["digest"], told["rows"]) == (corpus.id, corpus.manifest.digest, corpus.manifest.rows)
    told = next(e for e in events(baton, "promoted_model") if e["source_run_id"] == first.run_id)["extra"]
    assert (told["id"], told["directory"], told["corpus"]) == (model.id, model.directory, corpus.id)
    assert (told["model"], told["version"], told["alias"]) == ("tiny", "1", "champion")
    assert 0 < told["perplexity_ratio"] <= 1.05


def test_a_promotion_starts_inference_with_that_very_model(baton: Baton, first: Ran, again: Ran) -> None:
    api = baton.api()
    found = api._call("GET", "/api/v2/dags/batch_inference/dagRuns")["dag_runs"]
    assert [run["run_type"] for run in found] == ["asset_triggered"]
    run_id = found[0]["dag_run_id"]
    assert baton.wait("batch_inference", run_id, state={"success", "failed"}) == "success"
    run = baton.directory("batch_inference", run_id)
    assert [(r.stage, r.status) for r in run.records()] == [(s, "success") for s in ("plan", "predict", "report")]
    assert run.record("plan").artifact == first.directory.artifact("train").id
    predictions = run.artifact("predict")
    assert first.directory.artifact("train").id in [p.id for p in predictions.manifest.parents]
    url = api._call("GET", f"/api/v2/dags/batch_inference/dagRuns/{run_id}/taskInstances/report/links")
    assert "Predictions of" in api._client.get(url["extra_links"]["Report"]).text
    api.set_paused("batch_inference", True)


CREATE_SCHEDULED_RUN = """
import json, sys
from airflow.models.serialized_dag import SerializedDagModel
from airflow.sdk import timezone
from airflow.timetables.base import DataInterval
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunTriggeredByType, DagRunType

moment = timezone.parse(sys.argv[2])
with create_session() as session:
    SerializedDagModel.get_dag("spark_to_ray", session=session).create_dagrun(
        run_id=sys.argv[1], logical_date=moment, data_interval=DataInterval(moment, moment), run_after=moment,
        conf=json.loads(sys.argv[3]), run_type=DagRunType.SCHEDULED, triggered_by=DagRunTriggeredByType.TIMETABLE,
        state=DagRunState.QUEUED, session=session,
    )
"""


def create_scheduled_run(baton: Baton, run_id: str, moment: datetime, conf: dict[str, Any]) -> str:
    """A scheduled run that was due at a moment, as the scheduler makes it, but with a request; runs it, returns its id."""
    command = [sys.executable, "-c", CREATE_SCHEDULED_RUN, run_id, moment.isoformat(), json.dumps(conf)]
    subprocess.run(command, env=baton.services.environment(), check=True, capture_output=True)
    with baton.unpaused("spark_to_ray"):
        baton.wait("spark_to_ray", run_id, state={"success", "failed"})
    return run_id


@pytest.fixture(scope="module")
def scheduled(baton: Baton, first: Ran, conf: dict[str, Any]) -> str:
    """A scheduled run that is due now; returns its id.

    Scheduled runs take the form's defaults, which would be the demo. It is there before any backfill: Airflow begins to
    schedule a DAG once it has had a run with a date.
    """
    return create_scheduled_run(baton, "scheduled__today", datetime.now(UTC), conf)


def test_a_scheduled_run_with_nothing_new_is_skipped_and_green(baton: Baton, scheduled: str) -> None:
    api = baton.api()
    assert api.run_state("spark_to_ray", scheduled) == "success"
    states = api.task_states("spark_to_ray", scheduled)
    assert (states.pop("begin"), set(states.values())) == ("success", {"skipped"})
    assert "no report: plan skipped this run" in api.task_log("spark_to_ray", scheduled, "report")
    log = api.task_log("spark_to_ray", scheduled, "plan")
    assert "those of tiny version 1" in log and "nothing to do" in log


def test_a_scheduled_run_that_begins_long_after_its_time_is_skipped(
    baton: Baton, scheduled: str, conf: dict[str, Any]
) -> None:
    """What the timetable makes of a DAG that was paused over its time; nothing of it is looked at."""
    run_id = create_scheduled_run(baton, "scheduled__late", datetime.now(UTC) - timedelta(hours=15), conf)
    api = baton.api()
    assert api.run_state("spark_to_ray", run_id) == "success"
    log = api.task_log("spark_to_ray", run_id, "plan")
    assert re.search(r"it was due at .* and began 15:00:\d\d later", log) and "preset" not in log
    assert "it was due at" in api.task_log("spark_to_ray", run_id, "report")


def test_a_backfill_makes_a_corpus_of_each_day_and_does_not_train(
    baton: Baton, scheduled: str, conf: dict[str, Any], tmp_path: Path
) -> None:
    days = [datetime.now(UTC) - timedelta(days=n) for n in (3, 2)]
    pages = sorted((PROJECT / "docs").glob("*.md"), key=lambda page: -page.stat().st_size)  # each day others
    for number, day in enumerate(days):
        of_the_day = tmp_path / f"{day:%Y-%m-%d}"
        of_the_day.mkdir()
        for place, page in enumerate(pages[number::2]):
            shutil.copy(page, of_the_day / f"page{place}.md")
    split = {
        "validation_documents": ["page0*"],
        "test_documents": ["page1*"],
        "validation_fraction": 0,
        "test_fraction": 0,
    }
    conf = {**conf, "source": f"{tmp_path}/{{{{ ds }}}}/*.md", "overrides": {"corpus": {"split": split}}}
    first, last = (f"{day:%Y-%m-%d}T00:00:00Z" for day in days)
    with baton.unpaused("spark_to_ray") as api:
        api._call(
            "POST",
            "/api/v2/backfills",
            json={"dag_id": "spark_to_ray", "from_date": first, "to_date": last, "dag_run_conf": conf},
        )
        found = api._call("GET", "/api/v2/dags/spark_to_ray/dagRuns", params={"run_type": "backfill"})["dag_runs"]
        runs = [run["dag_run_id"] for run in sorted(found, key=lambda run: run["logical_date"])]
        assert [baton.wait("spark_to_ray", run, state={"success", "failed"}) for run in runs] == ["success"] * 2
    for run_id in runs:
        states = api.task_states("spark_to_ray", run_id)
        made, left_out = ("plan", "corpus", "report"), ("train", "evaluate", "approve", "promote", "predict")
        assert {t: states[t] for t in made} == dict.fromkeys(made, "success")
        assert {t: states[t] for t in left_out} == dict.fromkeys(left_out, "skipped")
        assert "a backfill makes the corpus only" in api.task_log("spark_to_ray", run_id, "train")
    directories = [baton.directory("spark_to_ray", run_id) for run_id in runs]
    sources = [run.config["corpus"]["source"]["uri"] for run in directories]
    assert sources == [f"{tmp_path}/{day:%Y-%m-%d}/*.md" for day in days]
    assert len({run.artifact("corpus").id for run in directories}) == 2
    with pytest.raises(RuntimeError, match="non-periodic schedule that does not support backfills"):
        api._call("POST", "/api/v2/backfills", json={"dag_id": "batch_inference", "from_date": first, "to_date": last})
    assert b"a backfill makes the corpus only" in directories[0].read("report.html")


@pytest.mark.faults
def test_a_person_is_asked_and_a_rejection_promotes_nothing(baton: Baton, first: Ran, conf: dict[str, Any]) -> None:
    from mlflow import MlflowClient

    task = "/api/v2/dags/spark_to_ray/dagRuns/asked/taskInstances/approve/-1/hitlDetails"
    with baton.unpaused("spark_to_ray") as api:
        api.trigger("spark_to_ray", "asked", {**conf, "approval": True, "model_name": "rejected"})
        baton.wait_for_parked("spark_to_ray", "asked", "approve", "awaiting_input")
        question = api._call("GET", task)
        assert question["subject"] == "Promote rejected?" and "perplexity" in question["body"]
        assert api.task_states("spark_to_ray", "asked")["promote"] is None
        api._call("PATCH", task, json={"chosen_options": ["Reject"]})
        assert baton.wait("spark_to_ray", "asked", state={"success", "failed"}) == "success"
    states = api.task_states("spark_to_ray", "asked")
    assert (states["approve"], states["promote"], states["predict"], states["report"]) == (
        "success", "skipped", "skipped", "success",
    )  # fmt: skip
    assert b"promotion was rejected by admin" in baton.directory("spark_to_ray", "asked").read("report.html")
    models = MlflowClient(f"sqlite:///{baton.home / 'mlflow.db'}").search_registered_models()
    assert "rejected" not in [m.name for m in models]


@pytest.mark.faults
def test_a_failed_gate_stops_before_promotion(baton: Baton, first: Ran, conf: dict[str, Any]) -> None:
    ran = baton.run({**conf, "gate": [{"against": "base", "limit": 0.01}], "model_name": "never"})
    assert ran.code == 1
    states = baton.api().task_states("spark_to_ray", ran.run_id)
    assert (states["evaluate"], states["promote"], states["predict"], states["report"]) == (
        "failed", "upstream_failed", "upstream_failed", "failed",
    )  # fmt: skip
    error = ran.directory.record("evaluate").error
    assert "0.01" in error and len(re.findall(r"\d+\.\d+", error)) >= 3
    assert "GateFailed" in error and "evaluate failed" in ran.printed
    assert b"0.01" in ran.directory.read("report.html")


def test_hostile_text_through_the_real_way_in_runs_nothing(baton: Baton, tmp_path: Path) -> None:
    """Form, API and CLI all create the run as this call does; what Airflow lets through, the plan refuses by name."""
    canary = tmp_path / "ran"
    conf = {
        "preset": "tiny",
        "source": f"/data/$(touch {canary})/*.txt",
        "base_model": f"/models/x; touch {canary}",
        "prompts": "/data/{{ ''.__class__.__mro__ }}.jsonl",
        "overrides": {
            "corpus": {"source": {"encoding": f"utf-8`touch {canary}`", "members": "../../*.txt"}},
            "training": {"base": {"revision": f"main\ntouch {canary}"}},
        },
    }
    with baton.unpaused("spark_to_ray") as api:
        with pytest.raises(RuntimeError, match="400"):
            api.trigger("spark_to_ray", "megabyte", {"source": "x" * (1 << 20)})
        api.trigger("spark_to_ray", "hostile", conf)
        assert baton.wait("spark_to_ray", "hostile", state={"success", "failed"}) == "failed"
    log = api.task_log("spark_to_ray", "hostile", "plan")
    for path in ('"Corpus"', '"Base model"', '"Prompts"', "corpus.source.encoding", "corpus.source.members",
                 "training.base.revision"):  # fmt: skip
        assert f"- {path}: " in log, path
    assert not canary.exists() and not Path(baton.directory("spark_to_ray", "hostile").uri).exists()
