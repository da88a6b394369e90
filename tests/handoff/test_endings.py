"""What Airflow says of a run's tasks, beside what the stages recorded."""

import pytest

from handoff.endings import bad_endings
from handoff.manifest import now
from handoff.run_dir import StageRecord


def record(stage: str, status: str, **more: str) -> StageRecord:
    return StageRecord(stage=stage, status=status, started=now(), ended=now(), **more)  # type: ignore[arg-type]


DONE = {"plan": record("plan", "success"), "train": record("train", "success")}
FAILED = {**DONE, "train": record("train", "failed", error="GateFailed: no")}
LEFT_OUT = {"plan": DONE["plan"], "train": record("train", "skipped", headline="a backfill")}


@pytest.mark.parametrize(
    ("states", "records", "expected"),
    [
        (("success", "success", "success"), DONE, {}),
        (("success", "failed", "upstream_failed"), FAILED, {"train": "failed: GateFailed: no", "predict": "did not start"}),
        (("success", "failed", "success"), DONE, {"train": "failed in Airflow and left no error"}),  # marked, alone
        (("success", "failed", "skipped"), DONE, {"train": "failed in Airflow", "predict": "was skipped"}),  # run marked
        (("failed", "upstream_failed", "upstream_failed"), {}, {"plan": "failed in", "train": "did not", "predict": "did not"}),
        (("success", "removed", "success"), DONE, {"train": "was removed from the DAG"}),
        (("success", "skipped", "skipped"), DONE, {"train": "was skipped, and nothing"}),  # marked between two tasks
        (("success", "skipped", "skipped"), LEFT_OUT, {}),
        (("success", "skipped", "failed"), LEFT_OUT, {"predict": "failed in Airflow"}),
    ],
)  # fmt: skip
def test_each_task_that_did_not_do_its_work_is_named(
    states: tuple[str, ...], records: dict[str, StageRecord], expected: dict[str, str]
) -> None:
    found = bad_endings(dict(zip(("plan", "train", "predict"), states, strict=True)), records)
    assert list(found) == list(expected)
    assert all(found[task].startswith(words) for task, words in expected.items()), found


def test_what_a_branch_leaves_out_has_not_ended_badly() -> None:
    states = {"plan": "success", "train": "skipped", "predict": "skipped"}
    assert bad_endings(states, DONE, by_choice=True) == {}
    assert list(bad_endings(states | {"predict": "failed"}, DONE, by_choice=True)) == ["predict"]
