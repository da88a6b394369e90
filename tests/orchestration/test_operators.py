"""What becomes of a task when its job fails, when there is nothing to do, in a backfill, and when a person is asked."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from handoff.errors import ConfigError, EngineUnavailable
from handoff.job import run_stage
from handoff.run_dir import RunDir, StageRecord


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(str(tmp_path / "run-1"))
    run.create(str(tmp_path / "artifacts"), {"promotion": {"approval": False, "model_name": "m", "alias": "champion"}})
    return run


def raising(error: Exception) -> Callable[[RunDir, StageRecord], None]:
    def body(run: RunDir, record: StageRecord) -> None:
        raise error

    return body


# -- Spark


@pytest.fixture
def corpus(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception | None], None]:
    """Runs the corpus task, whose spark-submit runs a stage that ends as told; None: it ends before the stage begins."""
    from orchestration.spark import SparkJobOperator

    def execute(error: Exception | None) -> None:
        def submit(self: Any, application: str) -> None:
            if error is not None:
                run_stage("corpus", raising(error), [run.uri])
            raise RuntimeError("Cannot execute: spark-submit … Error code is: 1.")

        hook = SimpleNamespace(
            submit=lambda application: submit(None, application),
            _should_track_driver_status=False,
            _should_track_driver_via_k8s_api=lambda: False,
            _is_yarn_cluster_mode=False,
        )
        monkeypatch.setattr(SparkJobOperator, "_get_hook", lambda self: hook)
        monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", '{"conn_type": "spark", "host": "local[1]"}')
        task: Any = SparkJobOperator(task_id="corpus", job="etl/job.py", run_dir=run.uri)
        task.execute({"ti": SimpleNamespace(xcom_push=lambda key, value: None)})

    return execute


def test_a_users_error_in_spark_is_not_tried_again(corpus: Callable[..., None]) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException, match=r"ERROR corpus: ConfigError: no passage .* Remedy: relax"):
        corpus(ConfigError("no passage is left. Remedy: relax the rules"))


def test_what_may_pass_by_itself_is_tried_again_and_says_what_it_was(corpus: Callable[..., None]) -> None:
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    with pytest.raises(AirflowException, match="EngineUnavailable: Spark does not start") as caught:
        corpus(EngineUnavailable("Spark does not start"))
    assert not isinstance(caught.value, AirflowFailException)


def test_an_earlier_attempts_record_does_not_speak_for_this_one(run: RunDir, corpus: Callable[..., None]) -> None:
    run_stage("corpus", raising(ConfigError("an old fault")), [run.uri])
    with pytest.raises(RuntimeError, match="Error code is: 1"):
        corpus(None)


# -- a job of the worker


@pytest.mark.parametrize(("code", "fails_at_once"), [(2, True), (75, False), (1, False)])
def test_a_jobs_exit_code_decides(
    code: int, fails_at_once: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    from orchestration.local_job import JobOperator

    (tmp_path / "ending.py").write_text(f"print('ERROR x: why'); raise SystemExit({code})")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(AirflowException, match="ERROR x: why") as caught:
        JobOperator(task_id="job", module="ending", run_dir="/runs/1").execute({})  # type: ignore[typeddict-item]
    assert isinstance(caught.value, AirflowFailException) is fails_at_once


# -- the plan


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConfigError("wrong. Remedy: correct it"), "AirflowFailException"),
        (EngineUnavailable("no Ray answers"), "AirflowException"),
        (None, "AirflowSkipException"),
    ],
)
def test_the_plans_end(error: Exception | None, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestration import plan
    from orchestration.plan_task import PlanOperator

    def planner(request: plan.Request) -> str:
        raise error or plan.NothingToDo("nothing changed")

    monkeypatch.setattr(plan, "plan_training", planner)
    with pytest.raises(Exception, match=r"wrong|no Ray|nothing changed") as caught:
        PlanOperator(task_id="plan", flow="training").execute(context("scheduled"))
    assert type(caught.value).__name__ == expected


def context(run_type: str, run: RunDir | None = None, **others: Any) -> Any:
    pushed: dict[str, Any] = {}
    instance = SimpleNamespace(
        xcom_pull=lambda task_ids: run.uri if run else None, xcom_push=lambda key, value: pushed.update({key: value})
    )
    due = datetime(2026, 11, 30, tzinfo=UTC)
    dag_run = SimpleNamespace(
        run_type=run_type, conf=None, logical_date=due, run_after=due, start_date=due, clear_number=0
    )
    return {
        "dag_run": dag_run, "run_id": "r", "params": {}, "ti": instance, "triggering_asset_events": {},
        "inlet_events": {}, **others,
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/runs/{{ 7 * 7 }}", "/runs/{% raw %}x", "/runs/1; touch /tmp/x"])
def test_what_the_plan_hands_on_is_never_rendered_a_second_time(path: str) -> None:
    """Through Airflow's own template engine: the run's directory is data, whatever it looks like."""
    from orchestration.local_job import JobOperator
    from orchestration.plan_task import RUN_DIR

    task = JobOperator(task_id="job", module="x", run_dir=RUN_DIR)
    task.render_template_fields({"ti": SimpleNamespace(xcom_pull=lambda task_ids: path)})  # type: ignore[typeddict-item]
    assert task.run_dir == path


def test_the_newest_event_is_the_one_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestration import plan
    from orchestration.plan_task import PlanOperator

    seen: list[plan.Request] = []
    monkeypatch.setattr(plan, "plan_inference", lambda request: seen.append(request) or "/runs/1")
    events = [SimpleNamespace(timestamp=n, extra={"directory": f"/{n}"}) for n in (1, 3, 2)]
    operator = PlanOperator(task_id="plan", flow="inference")
    operator.execute(context("asset_triggered", triggering_asset_events={"model": events}))
    assert seen[0].trigger == {"directory": "/3"}


# -- backfill


def test_training_is_skipped_in_a_backfill_and_the_record_says_why(run: RunDir) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    from orchestration.policy import corpus_only_in_backfills

    with pytest.raises(AirflowSkipException, match="a backfill makes the corpus only"):
        corpus_only_in_backfills(context("backfill", run))
    record = run.record("train")
    assert record and record.status == "skipped" and "a backfill makes the corpus only" in record.headline


@pytest.mark.parametrize("run_type", ["manual", "scheduled", "asset_triggered"])
def test_training_runs_in_all_others(run_type: str, run: RunDir) -> None:
    from orchestration.policy import corpus_only_in_backfills

    corpus_only_in_backfills(context(run_type, run))
    assert run.record("train") is None


# -- a person


@pytest.fixture
def approval(run: RunDir) -> Any:
    from orchestration.approval import PromotionApproval

    return PromotionApproval(task_id="approve", run_dir=run.uri, response_timeout=timedelta(hours=24))


def test_off_means_that_the_task_passes_at_once_and_skips_nothing(approval: Any) -> None:
    assert approval.execute({}) is None


def test_on_means_that_the_task_waits_with_a_limit(
    approval: Any, run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.standard.operators import hitl
    from airflow.sdk.exceptions import TaskAwaitingInput

    asked: dict[str, Any] = {}
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **question: asked.update(question))
    run.create(str(tmp_path / "artifacts"), {"promotion": {"approval": True, "model_name": "m", "alias": "champion"}})
    with pytest.raises(TaskAwaitingInput) as caught:
        approval.execute({"task_instance": SimpleNamespace(id="1")})
    assert caught.value.timeout == timedelta(hours=24)
    assert asked["subject"] == "Promote m?" and asked["defaults"] == ["Reject"], "silence is no approval"


@pytest.mark.parametrize(
    ("who", "expected"),
    [({"id": "1", "name": "ann"}, "rejected by ann"), (None, "nobody approved the promotion within 1 day")],
)
def test_a_rejection_and_a_silence_are_recorded(approval: Any, run: RunDir, who: Any, expected: str) -> None:
    from datetime import UTC, datetime

    event = {"chosen_options": ["Reject"], "params_input": {}, "responded_at": datetime.now(UTC),
             "responded_by_user": who, "timedout": who is None}  # fmt: skip
    approval.execute_complete(context("manual", run), event)
    record = run.record("promote")
    assert record and record.status == "skipped" and expected in record.headline
