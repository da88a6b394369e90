"""A run ends as what it is: whatever made one of its tasks end badly, the run has failed, and the report says why.

A table over which task, how it ended, and whether that was the first time or after the task was cleared alone, on the
real scheduler. Those marked ``faults`` take longer and run with ``make test-faults``.
"""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Baton
from tests.e2e.fault_run import log_of
from tests.e2e.waiting import wait_until

NO_SLOTS = "endings_no_slots"
ENDED = {"success", "failed"}


class Ended:
    """A run of one of the DAGs in tests/e2e/dags/endings.py, and what people and machines do to it."""

    def __init__(self, baton: Baton, dag_id: str, directory: Path, **orders: str) -> None:
        self.baton, self.dag_id, self.directory, self.api = baton, dag_id, directory, baton.api()
        self.run_id = f"{directory.parent.name}-{directory.name}"
        directory.mkdir()
        self.tell(**orders)
        wait_until(lambda: self.api.dag(dag_id) is not None, f"{dag_id} is parsed")
        self.api.set_paused(dag_id, False)
        self.api.trigger(dag_id, self.run_id, {"directory": str(directory)})

    def tell(self, **orders: str) -> None:
        for task, order in orders.items():
            (self.directory / f"{task}-began").unlink(missing_ok=True)
            (self.directory / task).write_text(order)

    def wait_for(self, task: str) -> None:
        """Until the task does what it was told."""
        wait_until((self.directory / f"{task}-began").exists, f"{task} begins", self.states)

    def states(self) -> dict[str, str | None]:
        return self.api.task_states(self.dag_id, self.run_id)

    def mark_task(self, task: str) -> None:
        path = f"/api/v2/dags/{self.dag_id}/dagRuns/{self.run_id}/taskInstances/{task}"
        self.api._call("PATCH", path, json={"new_state": "failed"})

    def mark_run(self) -> None:
        self.api._call("PATCH", f"/api/v2/dags/{self.dag_id}/dagRuns/{self.run_id}", json={"state": "failed"})

    def clear_alone(self, task: str) -> None:
        body = {"dry_run": False, "dag_run_id": self.run_id, "task_ids": [task], "only_failed": False, "reset_dag_runs": True}  # fmt: skip
        self.api._call("POST", f"/api/v2/dags/{self.dag_id}/clearTaskInstances", json=body)

    def ends(self, state: str, says: str = "") -> None:
        """The run ends in this state; what its report says holds ``says``."""
        seen: Callable[[], Any] = lambda: (self.api.run_state(self.dag_id, self.run_id), self.states())  # noqa: E731
        wait_until(lambda: self.api.run_state(self.dag_id, self.run_id) in ENDED, "the run ends", seen)
        assert self.api.run_state(self.dag_id, self.run_id) == state, seen()
        assert self.states()["report"] == state, seen()
        assert says in self.report(), self.report()

    def report(self) -> str:
        """The page; where the run has no directory, the log of the report task."""
        try:
            return self.baton.directory(self.dag_id, self.run_id).read("report.html").decode()
        except FileNotFoundError:
            attempts = range(1, 5)
            return "".join(log_of(self.api, self.dag_id, self.run_id, "report", number) for number in attempts)


def end_badly(run: Ended, task: str, how: str) -> None:
    """Let a task end in this way. It was told ``wait`` or ``raise``."""
    if how in ("marked", "run marked"):
        run.wait_for(task)
        run.mark_task(task) if how == "marked" else run.mark_run()


def test_what_a_branch_of_ones_own_leaves_out_ends_well(baton: Baton, tmp_path: Path) -> None:
    run = Ended(baton, "endings_branch", tmp_path / "run")
    run.ends("success")
    assert run.states() | {"begin": "success"} == {
        "begin": "success", "plan": "success", "enough": "success", "too_small": "success", "train": "skipped",
        "predict": "skipped", "report": "success",
    }  # fmt: skip


def test_a_run_that_is_marked_failed_in_the_middle_has_failed(baton: Baton, tmp_path: Path) -> None:
    run = Ended(baton, "endings", tmp_path / "run", train="wait")
    run.wait_for("train")
    run.mark_run()
    run.ends("failed", "The train task failed in Airflow and left no error of its own: it was marked so")
    assert run.states()["predict"] == "skipped"
    run.tell(train="raise")
    run.clear_alone("train")
    run.wait_for("train")
    run.ends("failed", "The train stage failed")
    assert run.states()["plan"] == "success"
    run.tell(train="succeed")
    run.clear_alone("train")
    run.wait_for("train")
    run.ends("failed", "The predict task was skipped, and nothing in the run says why")
    run.clear_alone("predict")
    run.ends("success", "All stages succeeded")


def test_a_plan_that_fails_leaves_no_report_and_says_so(baton: Baton, tmp_path: Path) -> None:
    run = Ended(baton, "endings", tmp_path / "run", plan="raise")
    run.ends("failed", "no report: plan failed, so the run has no directory")
    assert run.states()["predict"] == "upstream_failed"


WAYS = {"raises": ("endings", "raise"), "marked": ("endings", "wait"), "run marked": ("endings", "wait"), "late": ("endings_late", "wait")}  # fmt: skip


@pytest.mark.faults
@pytest.mark.parametrize("again", [False, True], ids=["first", "cleared alone"])
@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("task", ["plan", "train", "predict"])
def test_whatever_ends_badly_the_run_has_failed(baton: Baton, tmp_path: Path, task: str, how: str, again: bool) -> None:
    dag_id, order = WAYS[how]
    run = Ended(baton, dag_id, tmp_path / "run", **({} if again else {task: order}))
    if again:
        run.ends("success", "All stages succeeded")
        run.tell(**{task: order})
        run.clear_alone(task)
        run.wait_for(task)
    end_badly(run, task, how)
    # A plan that fails the first time has no directory to report into; later it has that of before.
    first_plan = task == "plan" and not again
    run.ends("failed", "no report: plan failed" if first_plan else f"The {task} stage failed")


@pytest.mark.faults
def test_a_run_that_is_marked_failed_between_two_tasks_has_failed(baton: Baton, tmp_path: Path) -> None:
    """No task runs, so Airflow marks none as failed: it skips all that wait."""
    baton.api().make_pools({NO_SLOTS: (0, "nothing starts")})
    run = Ended(baton, "endings_waiting", tmp_path / "run")
    wait_until(lambda: run.states()["train"] == "scheduled", "train waits", run.states)
    run.mark_run()
    run.ends("failed", "The train task was skipped, and nothing in the run says why")
    assert set(run.states().values()) == {"success", "skipped", "failed"}


@pytest.mark.faults
def test_a_task_that_is_cleared_behind_a_failed_one_has_not_succeeded(baton: Baton, tmp_path: Path) -> None:
    run = Ended(baton, "endings", tmp_path / "run", train="raise")
    run.ends("failed", "The train stage failed")
    run.clear_alone("predict")
    wait_until(lambda: run.states()["predict"] == "upstream_failed", "predict cannot start", run.states)
    run.ends("failed", "The train stage failed")


@pytest.mark.faults
def test_a_task_that_is_removed_from_the_dag_has_not_succeeded(baton: Baton, tmp_path: Path) -> None:
    run = Ended(baton, "endings", tmp_path / "run", train="raise")
    run.ends("failed")
    mark = baton.home / "endings-without-train"
    mark.touch()
    reserialize = ["airflow", "dags", "reserialize"]
    try:
        subprocess.run(reserialize, env=baton.services.environment(), check=True, capture_output=True)
        run.clear_alone("predict")
        run.ends("failed", "The train task was removed from the DAG")
        assert run.states()["train"] == "removed"
    finally:
        mark.unlink()
        subprocess.run(reserialize, env=baton.services.environment(), check=True, capture_output=True)
