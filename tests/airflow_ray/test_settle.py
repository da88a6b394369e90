"""Which job a task follows, branch by branch, over a cluster that is a list; tests/e2e/test_ray_jobs.py has a real one."""

import logging
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from airflow_ray.work import JOB_KEY, LOG_KEY, Settled, Work, settle

WORK = Work("airflow", "dag", "run", "train", -1, clear_number=1)
CLEARED = replace(WORK, clear_number=0)  # the same task before its clear
FIRST, SECOND, THIRD = (WORK.submission_id(number) for number in range(3))


class Memory(dict[str, Any]):
    def set(self, key: str, value: Any) -> None:
        self[key] = value


@dataclass
class Cluster:
    """Jobs by name; what the operator asks of a client, answered from them."""

    jobs: dict[str, Any] = field(default_factory=dict)
    stops: bool = True
    stopped: list[str] = field(default_factory=list)

    def job(self, name: str, status: str, work: Work = WORK) -> "Cluster":
        from ray.job_submission import JobDetails, JobStatus, JobType

        metadata = work.metadata()
        self.jobs[name] = JobDetails(
            type=JobType.SUBMISSION, submission_id=name, status=JobStatus(status), metadata=metadata, entrypoint=""
        )
        return self

    def list_jobs(self) -> list[Any]:
        return list(self.jobs.values())

    def find(self, name: str) -> Any:
        return self.jobs.get(name)

    def stop_and_wait(self, name: str, seconds: float) -> bool:
        assert seconds == 60
        self.stopped.append(name)
        return self.stops


def remembered(number: int, **log: Any) -> Memory:
    """What an attempt between the same two clears leaves."""
    job = {"clear_number": 1, "number": number, "submission_id": WORK.submission_id(number)}
    return Memory({JOB_KEY: job, LOG_KEY: log})


def settled(cluster: Cluster, memory: Memory) -> tuple[Settled, list[str]]:
    """What was found, and the jobs that were submitted for it."""
    submitted: list[str] = []

    def submit(name: str) -> None:
        assert memory[JOB_KEY]["submission_id"] == name, "a worker that dies here leaves the name to the next"
        submitted.append(name)

    log = logging.getLogger("task")
    return settle(cluster, WORK, memory, submit, stop_seconds=60, log=log), submitted  # type: ignore[arg-type]


def test_a_task_without_a_job_submits_one_and_remembers_it() -> None:
    memory = Memory()
    assert settled(Cluster(), memory) == (Settled(FIRST, "submitted", 0), [FIRST])
    assert memory[JOB_KEY] == {"clear_number": 1, "number": 0, "submission_id": FIRST}


@pytest.mark.parametrize(
    ("status", "how"), [("SUCCEEDED", "adopted"), ("RUNNING", "attached"), ("PENDING", "attached")]
)
def test_the_job_of_an_earlier_attempt_is_taken_over_where_its_log_was_left(status: str, how: str) -> None:
    memory = remembered(1, submission_id=SECOND, position=70)
    assert settled(Cluster().job(SECOND, status), memory) == (Settled(SECOND, how, 70), [])


def test_a_position_in_the_log_of_another_job_is_not_taken() -> None:
    memory = remembered(1, submission_id=FIRST, position=70)
    assert settled(Cluster().job(SECOND, "RUNNING"), memory) == (Settled(SECOND, "attached", 0), [])


@pytest.mark.parametrize("status", ["FAILED", "STOPPED"])
def test_after_a_job_that_failed_a_new_one_is_submitted(status: str) -> None:
    memory = remembered(1, submission_id=SECOND, position=70)
    assert settled(Cluster().job(SECOND, status), memory) == (Settled(THIRD, "submitted", 0), [THIRD])
    assert memory[JOB_KEY]["number"] == 2


def test_a_name_that_was_remembered_and_never_submitted_is_used() -> None:
    assert settled(Cluster(), remembered(1)) == (Settled(SECOND, "submitted", 0), [SECOND])


@pytest.mark.parametrize("status", ["SUCCEEDED", "RUNNING", "FAILED"])
def test_a_taken_name_that_is_not_remembered_is_passed_over(status: str) -> None:
    """A DAG run that was deleted and made again under its old id: its old jobs are not this one's."""
    cluster = Cluster().job(FIRST, status).job(SECOND, "FAILED")
    assert settled(cluster, Memory()) == (Settled(THIRD, "submitted", 0), [THIRD])
    assert cluster.stopped == ([FIRST] if status == "RUNNING" else [])


def test_a_clear_begins_anew_and_stops_what_is_left_from_before() -> None:
    before = CLEARED.submission_id(0)
    cluster = Cluster().job(before, "RUNNING", CLEARED)
    memory = Memory({JOB_KEY: {"clear_number": 0, "number": 0, "submission_id": before}})
    assert settled(cluster, memory) == (Settled(FIRST, "submitted", 0), [FIRST])
    assert cluster.stopped == [before]


def test_a_job_from_before_that_does_not_end_is_an_error() -> None:
    cluster = Cluster(stops=False).job(CLEARED.submission_id(0), "RUNNING", CLEARED)
    with pytest.raises(RuntimeError, match="did not end within 60 s of being stopped"):
        settled(cluster, Memory())


def test_only_living_jobs_of_this_task_are_stopped() -> None:
    cluster = Cluster().job(FIRST, "RUNNING")  # its own
    cluster.job("ended", "SUCCEEDED", CLEARED)
    for name, value in (("namespace", "b"), ("dag_id", "b"), ("run_id", "b"), ("task_id", "b"), ("map_index", 0)):
        cluster.job(f"other {name}", "RUNNING", replace(WORK, **{name: value}))  # type: ignore[arg-type]
    cluster.job("no metadata", "RUNNING").jobs["no metadata"].metadata = None
    assert settled(cluster, remembered(0)) == (Settled(FIRST, "attached", 0), [])
    assert cluster.stopped == []
