"""The time line: all stages on one scale, also after a pause or with nested phases."""

from datetime import timedelta

import pytest

from handoff.run_dir import Phase, StageRecord
from reporting.stages import stages_of, timeline_of
from tests.reporting.build_run import STARTED


def record(stage: str, start: float, seconds: float, phases: list[Phase] | None = None) -> StageRecord:
    begin = STARTED + timedelta(seconds=start)
    end = begin + timedelta(seconds=seconds)
    return StageRecord(stage=stage, status="success", started=begin, ended=end, phases=phases or [])


def test_bars_lie_where_their_times_are() -> None:
    line = timeline_of(stages_of([record("plan", 0, 10), record("corpus", 20, 60), record("train", 80, 20)]))
    assert line.seconds == pytest.approx(100)
    assert [(b.stage.name, round(b.left), round(b.width)) for b in line.bars] == [
        ("plan", 0, 10),
        ("corpus", 20, 60),
        ("train", 80, 20),
    ]
    assert [seconds for _, seconds in line.ticks] == [0, 30, 60, 90]


def test_a_rerun_on_the_next_day_leaves_its_pause_out_and_says_so() -> None:
    line = timeline_of(stages_of([record("plan", 0, 10), record("corpus", 86_400, 30)]))
    assert line.seconds == pytest.approx(40)
    assert line.pauses == [("corpus", pytest.approx(86_390))]


def test_nested_phases_do_not_run_out_of_their_bar() -> None:
    phases = [Phase(name="all", seconds=10), Phase(name="part", seconds=6)]
    line = timeline_of(stages_of([record("plan", 0, 10, phases)]))
    assert sum(percent for _, percent in line.bars[0].segments) <= 100.0001


def test_nothing_started_gives_an_empty_line() -> None:
    assert timeline_of(stages_of([])).bars == []


def test_what_follows_a_skipped_stage_is_skipped_with_it_and_says_why() -> None:
    skipped = StageRecord(stage="train", status="skipped", started=STARTED, ended=STARTED, headline="a backfill")
    flow = ("plan", "corpus", "train", "evaluate", "promote", "predict", "report")
    records = [record("plan", 0, 1), record("corpus", 2, 1), skipped, record("report", 4, 1)]
    stages = {s.name: s for s in stages_of(records, flow)}
    assert [(n, s.state) for n, s in stages.items()] == [
        ("plan", "done"), ("corpus", "made"), ("train", "skipped"), ("evaluate", "skipped"), ("promote", "skipped"),
        ("predict", "skipped"), ("report", "writing"),
    ]  # fmt: skip
    assert stages["train"].why == "a backfill"
    assert stages["predict"].why == "the train stage was skipped before it"
    assert stages["train"].seconds is None, "a skip has no time to show"


def test_a_flow_of_its_own() -> None:
    assert [s.name for s in stages_of([], ("plan", "predict", "report"))] == ["plan", "predict", "report"]


FLOW = ("plan", "corpus", "train", "evaluate", "promote", "predict", "report")
STATES = dict.fromkeys(("plan", "corpus", "train", "evaluate", "approve", "promote", "predict"), "success")
MADE = [record(stage, n, 1) for n, stage in enumerate(FLOW)]


@pytest.mark.parametrize(
    ("airflow", "expected"),
    [
        ({}, {"train": "made", "predict": "made"}),
        ({"train": "failed"}, {"train": "failed", "evaluate": "made"}),  # marked after its work, or cleared alone
        ({"train": "failed", "predict": "upstream_failed"}, {"train": "failed", "predict": "absent"}),
        ({"train": "removed"}, {"train": "removed", "predict": "made"}),
        ({"promote": "skipped", "predict": "skipped"}, {"promote": "stopped", "predict": "skipped"}),
        ({"approve": "failed", "promote": "upstream_failed"}, {"approve": "failed", "promote": "absent"}),
    ],
)
def test_airflows_state_counts_before_a_record_of_earlier(airflow: dict[str, str], expected: dict[str, str]) -> None:
    found = stages_of(MADE, FLOW, {**STATES, **airflow})
    assert [s.name for s in found if s.name in FLOW] == list(FLOW)
    states = {s.name: s.state for s in found}
    assert {name: states[name] for name in expected} == expected
    assert all(s.why for s in found if s.state in ("failed", "absent", "stopped", "removed", "skipped"))
