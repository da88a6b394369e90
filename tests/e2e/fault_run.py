"""A run of the DAGs that the fault tests break (tests/e2e/dags), and what people and machines do to it."""

import itertools
import time
from pathlib import Path
from typing import Any

import psutil

from orchestration.airflow_api import AirflowApi
from tests.e2e.conftest import Baton
from tests.e2e.waiting import wait_until

BODY = """
import pathlib, ray, time
here = pathlib.Path({directory!r})
ray.init(log_to_driver=False)
@ray.remote(num_cpus=0)
class Worker:
    def ready(self): return True
worker = Worker.remote(); ray.get(worker.ready.remote())
(here / f"started-{{time.time_ns()}}").touch()
n = 0
while not (here / "go").exists():
    print("line", n, flush=True); n += 1; time.sleep(0.1)
print("last line", flush=True)
"""


class Run:
    """One run of one of the DAGs in tests/e2e/dags, and what people and machines do to it."""

    def __init__(self, baton: Baton, dag_id: str, directory: Path) -> None:
        self.baton, self.dag_id, self.directory = baton, dag_id, directory
        self.run_id = f"run{time.time_ns()}"
        self.api = baton.api()
        self.client = baton.ray()
        wait_until(lambda: self.api.dag(dag_id) is not None, f"{dag_id} is parsed")
        self.api.set_paused(dag_id, False)
        self.trigger()

    def trigger(self) -> None:
        self.api.trigger(self.dag_id, self.run_id, {"body": BODY.format(directory=str(self.directory))})

    # -- what there is

    def jobs(self) -> list[Any]:
        found = [j for j in self.client.list_jobs() if (j.metadata or {}).get("run_id") == self.run_id]
        return sorted(found, key=lambda j: j.start_time)

    def statuses(self) -> list[str]:
        return [str(j.status.value) for j in self.jobs()]

    def state(self) -> str | None:
        return self.api.task_states(self.dag_id, self.run_id)["job"]

    def starts(self) -> int:
        return len(list(self.directory.glob("started-*")))

    def log(self, attempt: int) -> str:
        return log_of(self.api, self.dag_id, self.run_id, "job", attempt)

    def seen(self) -> str:
        run = self.api.run_state(self.dag_id, self.run_id)
        return f"the run is {run}, its task {self.state()}, its jobs {self.statuses()}"

    def wait_for(self, state: str) -> None:
        wait_until(lambda: self.state() == state, f"the task is {state}", self.seen)

    def wait_for_the_trigger(self) -> None:
        """Until the triggerer follows the job: before that nobody hears of what a user does to the deferred task."""
        self.wait_for("deferred")
        wait_until(lambda: "in the triggerer" in self.log(1), "the triggerer follows the job", self.seen)

    def wait_for_the_run_to_end(self) -> None:
        """Until the scheduler has closed the run.

        It reads the tasks and then writes the run's state; on SQLite, which locks no rows, a task that is cleared in
        between is left in a run that counts as ended, and is never scheduled.
        """
        wait_until(
            lambda: self.api.run_state(self.dag_id, self.run_id) in {"success", "failed"}, "the run ends", self.seen
        )

    def wait_for_job(self, number: int = 1) -> None:
        """Until the body of job ``number`` runs."""
        wait_until(
            lambda: self.starts() >= number and self.statuses()[-1] == "RUNNING", f"job {number} runs", self.statuses
        )

    def no_two_alive(self) -> None:
        jobs = self.jobs()
        for earlier, later in itertools.pairwise(jobs):
            assert earlier.end_time and earlier.end_time <= later.start_time, "two jobs were alive at once"

    def nothing_left(self) -> None:
        left = [line for job in self.jobs() for line in self.client.leftovers(job)]
        assert left == []

    # -- what happens

    def set_state(self, state: str) -> None:
        path = f"/api/v2/dags/{self.dag_id}/dagRuns/{self.run_id}/taskInstances/job"
        self.api._call("PATCH", path, json={"new_state": state})

    def clear(self) -> None:
        body = {
            "dry_run": False,
            "dag_run_id": self.run_id,
            "task_ids": ["job"],
            "only_failed": False,
            "reset_dag_runs": True,
        }
        self.api._call("POST", f"/api/v2/dags/{self.dag_id}/clearTaskInstances", json=body)

    def go(self) -> None:
        (self.directory / "go").touch()

    def succeeds_when_cleared(self) -> None:
        """The plain retry after a fault."""
        before = len(self.jobs())
        self.wait_for_the_run_to_end()
        self.clear()
        wait_until(lambda: len(self.jobs()) == before + 1, "a new job", self.seen)
        self.go()
        self.wait_for("success")
        assert self.statuses()[-1] == "SUCCEEDED"
        self.no_two_alive()


def kill(processes: list[psutil.Process]) -> None:
    assert processes, "nothing to kill"
    for process in processes:
        process.kill()
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not alive, "the fault did not happen"


def log_of(api: AirflowApi, dag_id: str, run_id: str, task: str, attempt: int) -> str:
    """The log of a task's attempt; empty while there is no such attempt."""
    try:
        return api.task_log(dag_id, run_id, task, attempt)
    except RuntimeError:
        return ""


def executor_processes(baton: Baton) -> list[psutil.Process]:
    """Workers that run a task: the process that runs it and the executor's that supervises that.

    Idle processes of the executor are not among them: one of those holds the lock of its queue.
    """
    scheduler = baton.services.running()["scheduler"]
    titles = {p: " ".join(p.cmdline()) for p in scheduler.children(recursive=True)}
    return [p for p, title in titles.items() if title.startswith("airflow worker") and "<idle>" not in title]
