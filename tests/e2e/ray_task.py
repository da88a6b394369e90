"""One task instance with a RayJobOperator, run in this process as workers would, attempt by attempt."""

import re
import threading
import time
from types import SimpleNamespace
from typing import Any

from tests.e2e.conftest import Baton
from tests.e2e.waiting import wait_until


class Memory(dict[str, Any]):
    """Stands for the task state store, which lives in Airflow's API server; tests/e2e/test_faults.py has the real one."""

    def set(self, key: str, value: Any) -> None:
        self[key] = value


class Task:
    """One task instance of one DAG run, run in this process as a worker would, again and again."""

    def __init__(self, baton: Baton, **keywords: Any) -> None:
        self.client = baton.ray()
        self.keywords = keywords
        self.memory = Memory()
        self.run_id = f"r{time.time_ns()}"
        self.clear_number = 0
        self.links: list[str] = []

    def attempt(self, code: str | list[str]) -> "Attempt":
        from airflow_ray.operator import RayJobOperator

        entrypoint = ["python", "-c", code] if isinstance(code, str) else code
        operator = RayJobOperator(task_id="job", entrypoint=entrypoint, **self.keywords)
        instance = SimpleNamespace(
            dag_id="d",
            run_id=self.run_id,
            task_id="job",
            map_index=-1,
            xcom_push=lambda key, value: self.links.append(value),
        )
        dag_run = SimpleNamespace(clear_number=self.clear_number)
        return Attempt(operator, {"ti": instance, "dag_run": dag_run, "task_state_store": self.memory})

    def jobs(self) -> dict[str, str]:
        """State of every job that was ever submitted for this task, by its name's ending."""
        found = [j for j in self.client.list_jobs() if (j.metadata or {}).get("run_id") == self.run_id]
        return {re.search(r"c\d+-n\d+$", j.submission_id).group(): str(j.status) for j in found}  # type: ignore[union-attr, arg-type]

    def wait_for(self, jobs: dict[str, str]) -> None:
        wait_until(lambda: self.jobs() == jobs, f"jobs {jobs}", self.jobs, seconds=60)


class Attempt(threading.Thread):
    def __init__(self, operator: Any, context: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self.operator, self.context = operator, context
        self.result: str | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self.operator.execute(self.context)
        except BaseException as error:
            self.error = error

    def ended(self) -> "Attempt":
        """Run to the end, in a thread of its own or in this one."""
        if self.ident is None:
            self.run()
        else:
            self.join(90)
            assert not self.is_alive()
        return self

    def vanish(self) -> None:
        """End as a killed worker does: without a word to Ray. The follower sees the flag, nothing stops the job."""
        self.operator._stop_if_killed = lambda: (_ for _ in ()).throw(SystemExit("killed"))
        self.operator._killed = True
        self.join(30)
        assert not self.is_alive()
