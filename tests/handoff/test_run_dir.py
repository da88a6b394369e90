"""A stage leaves a record whatever happens, and a job's exit code tells whether a retry can help."""

import re
from pathlib import Path

import pytest

from handoff.errors import (
    EXIT_FAILED,
    EXIT_INFRASTRUCTURE,
    EXIT_USER_ERROR,
    ConfigError,
    EngineUnavailable,
    SourceError,
)
from handoff.job import Progress, run_stage, set_up_logging
from handoff.run_dir import RunDir, StageRecord


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(str(tmp_path / "run-1"))
    run.create(str(tmp_path / "artifacts"), {"corpus": {}})
    return run


def test_success_is_recorded_with_phases(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    def body(run: RunDir, record: StageRecord) -> None:
        with record.phase("read"):
            record.headline = "12 rows"

    assert run_stage("corpus", body, [run.uri]) == 0
    record = run.record("corpus")
    assert record and record.status == "success" and record.phases[0].name == "read" and record.ended
    assert "corpus done in" in capsys.readouterr().out


def test_a_users_error_is_one_line_and_exit_2(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    def body(run: RunDir, record: StageRecord) -> None:
        raise SourceError("no file matches /x/*.txt. Remedy: correct source")

    assert run_stage("corpus", body, [run.uri]) == EXIT_USER_ERROR
    out = capsys.readouterr().out
    assert (
        out.strip().endswith("ERROR corpus: no file matches /x/*.txt. Remedy: correct source")
        and "Traceback" not in out
    )
    record = run.record("corpus")
    assert record and record.status == "failed" and "no file matches" in str(record.error)
    assert not record.retry_helps


def test_what_may_pass_by_itself_is_one_line_and_another_exit_code(
    run: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    def body(run: RunDir, record: StageRecord) -> None:
        raise EngineUnavailable("no Ray answers at http://x:8265. Remedy: start it")

    assert run_stage("train", body, [run.uri]) == EXIT_INFRASTRUCTURE != EXIT_USER_ERROR
    out = capsys.readouterr().out
    assert out.strip().endswith("ERROR train: no Ray answers at http://x:8265. Remedy: start it")
    assert "Traceback" not in out
    assert (record := run.record("train")) and record.retry_helps


def test_anything_else_shows_its_traceback_and_exit_1(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    def body(run: RunDir, record: StageRecord) -> None:
        raise OSError(28, "No space left on device")

    assert run_stage("corpus", body, [run.uri]) == EXIT_FAILED
    out = capsys.readouterr().out
    assert "Traceback" in out and "the disk is full" in out.strip().split("\n")[-1]


def test_a_missing_run_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no run.json"):
        _ = RunDir(str(tmp_path / "nope")).config


def test_an_artifact_of_a_stage_that_did_not_run(run: RunDir) -> None:
    with pytest.raises(ConfigError, match="the corpus stage has made no artifact"):
        run.artifact("corpus")


def test_records_come_in_the_order_of_the_flow(run: RunDir) -> None:
    for stage in ("train", "plan", "corpus"):
        with run.stage(stage):
            pass
    assert [r.stage for r in run.records()] == ["plan", "corpus", "train"]


def test_progress_shows_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging()
    progress = Progress("train", "tokens", total=200, every_seconds=0.0)
    progress.add(50, "loss 3.2")
    progress.add(150)
    first, last = capsys.readouterr().out.strip().split("\n")
    assert "train: 50/200 tokens" in first and "tokens/s" in first and "s left" in first and first.endswith("loss 3.2")
    assert "200/200" in last


def test_progress_of_a_second_attempt_counts_on_without_taking_the_first_ones_work_for_speed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_up_logging()
    Progress("train", "steps", 1_000_000, every_seconds=0.0, started_ago=10.0, done_before=999_000).add(10)
    assert re.match(r"train: 999,010/1,000,000 steps · 1\.0 steps/s · 99\d s left", capsys.readouterr().out)
