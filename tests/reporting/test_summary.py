"""The plain-text ending of a run and its line per stage."""

from datetime import timedelta
from pathlib import Path

from handoff.run_dir import RunDir, StageRecord
from reporting.summary import WIDTH, stage_line, summary
from tests.reporting.build_run import GATE_ERROR, STARTED, Story, build_run, prediction


def test_tells_perplexities_predictions_and_places(tmp_path: Path) -> None:
    run = build_run(tmp_path)
    lines = summary(run)
    assert "  test            61.20    44.92   0.734" in lines
    assert "Gate, on test: passed" in lines
    assert any(line.startswith("  ✓ bits_per_byte 1.31 against the champion 1.32: ratio 0.993") for line in lines)
    assert "  The ghost of the king" in lines
    assert "    base   is a popular video game." in lines
    assert "    tuned  walks in the night." in lines
    assert f"  model        {run.artifact('train').data}" in lines
    assert f"  predictions  {run.artifact('predict').data}" in lines
    assert lines[-1] == f"  report       {run.uri}/report.html"


def test_long_and_hostile_text_stays_within_the_terminal(tmp_path: Path) -> None:
    rows = [prediction(0, "long " * 80, "\x1b[2Jcleared\n\n" + "x" * 300, baseline="b" * 200)]
    lines = summary(build_run(tmp_path, Story(predictions=rows)))
    shown = lines[lines.index("Predictions") + 1 : lines.index("Where things are") - 1]
    assert len(shown) == 3
    assert all(len(line) <= WIDTH and line.isprintable() for line in shown)


def test_a_failed_gate_is_the_ending(tmp_path: Path) -> None:
    lines = summary(build_run(tmp_path, Story(fails="evaluate", error=GATE_ERROR, tuned=60.10)))
    assert "Gate, on test: FAILED" in lines
    assert any(line.startswith("  ✗ perplexity 60.1 against the base 61.2: ratio 0.982") for line in lines)
    assert "Predictions: no predictions: the evaluate stage failed before it" in lines


def test_without_a_plan_there_is_still_an_ending(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert summary(RunDir(str(tmp_path / "run")))[1] == "The run stopped: its plan stage did not start."


def stage(**fields: object) -> StageRecord:
    ended = STARTED + timedelta(seconds=24.1)
    return StageRecord.model_validate(
        {"stage": "corpus", "status": "success", "started": STARTED, "ended": ended} | fields
    )


def test_stage_line_has_mark_time_engine_and_headline() -> None:
    assert stage_line(stage(headline="9,412 kept")) == "✓ corpus          24.1 s  Spark   9,412 kept"
    assert stage_line(stage(reused=True)).startswith("↺ corpus")
    assert len(stage_line(stage(headline="word " * 60))) <= WIDTH


def test_stage_line_of_a_failure_keeps_the_remedy() -> None:
    line = stage_line(stage(status="failed", error="ArtifactError: x:\n  - a\n  - b\nRemedy: rerun it"))
    assert line.startswith("✗ corpus") and line.endswith("Remedy: rerun it")
    assert "\n" not in line
