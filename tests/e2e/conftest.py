"""A whole Baton of its own for the end-to-end tests: Airflow with its scheduler, Ray, Spark, on free ports."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from orchestration.ports import any_free_port
from tests.e2e.waiting import wait_until

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
RAY_AGENT_PORT = 52365  # where every Ray's agent listens unless told otherwise: held, as by another Ray of this machine


def bundle(directory: Path) -> dict[str, Any]:
    return {
        "name": f"{directory.parent.name}-{directory.name}",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(directory), "refresh_interval": 300},
    }


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "baton" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.e2e)


@dataclass
class Baton:
    """Running services, and how to run the DAG on them."""

    services: Any
    home: Path

    def run(self, conf: dict[str, Any]) -> "Ran":
        """Run the DAG as ``make demo`` does; returns what it printed and where the run is."""
        from orchestration.local import demo

        text = StringIO()
        with redirect_stdout(text):
            code = demo(self.services, conf)
        printed = text.getvalue()
        run_id = next(line.split()[1] for line in printed.split("\n") if line.startswith("run "))
        return Ran(code, printed, run_id, self.directory("spark_to_ray", run_id))

    def wait(self, dag_id: str, run_id: str, *, task: str | None = None, state: set[str], seconds: float = 300) -> str:
        """Wait until a run, or one of its tasks, is in one of the states; returns which."""
        api, deadline = self.api(), time.monotonic() + seconds
        while time.monotonic() < deadline:
            now = api.task_states(dag_id, run_id).get(task) if task else api.run_state(dag_id, run_id)
            if now in state:
                return str(now)
            time.sleep(0.5)
        tasks = [t for t in api.task_instances(dag_id, run_id) if t["state"]]
        raise AssertionError(
            f"{dag_id} {run_id} {task or ''} is {now} after {seconds} s, not {state}: "
            + ", ".join(f"{t['task_id']} {t['state']} (attempt {t['try_number']})" for t in tasks)
        )

    def wait_for_parked(self, dag_id: str, run_id: str, task: str, state: str, seconds: float = 300) -> None:
        """Wait until a task waits in a state without a process, and the scheduler knows that its process has ended.

        A task that goes on before that is taken for killed: Airflow 3.3 lets the late news of the process' end fail the
        attempt that has just begun (apache/airflow issue 72716). People are slower than this, tests are not.
        """
        self.wait(dag_id, run_id, task=task, state={state}, seconds=seconds)
        news = f"TaskInstance Finished: dag_id={dag_id}, task_id={task}, run_id={run_id},"
        log = self.services.logs / "scheduler.log"
        wait_until(
            lambda: news in log.read_text(errors="replace"), f"the scheduler sees {task}'s process end", seconds=seconds
        )

    @contextmanager
    def unpaused(self, dag_id: str) -> Iterator[Any]:
        """The API, while the scheduler runs a DAG."""
        api = self.api()
        api.set_paused(dag_id, False)
        try:
            yield api
        finally:
            api.set_paused(dag_id, True)

    def directory(self, dag_id: str, run_id: str) -> Any:
        """The directory of a run."""
        from handoff.run_dir import RunDir
        from orchestration.paths import run_key, run_uri

        return RunDir(run_uri(dag_id, run_key(run_id)))

    def ray(self) -> Any:
        """A client of the Ray cluster."""
        from airflow_ray.cluster import Cluster

        settings = json.loads(self.services.environment()["AIRFLOW_CONN_RAY_DEFAULT"])
        return Cluster(f"http://127.0.0.1:{settings['port']}", "", settings["password"]).client()

    def ray_answers(self) -> bool:
        try:
            self.ray()
        except ConnectionError:
            return False
        return True

    def api(self) -> Any:
        from orchestration.airflow_api import AirflowApi
        from orchestration.services import USER

        return AirflowApi(self.services.ui, USER, self.services.password)


@dataclass
class Ran:
    code: int
    printed: str
    run_id: str
    directory: Any


@pytest.fixture(scope="package")
def baton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Baton]:
    from orchestration.services import Services

    home = tmp_path_factory.mktemp("baton")
    settings = {
        "BATON_HOME": str(home),
        "BATON_UI_PORT": str(any_free_port()),
        "BATON_RAY_PORT": str(any_free_port()),
        # Beside the project's DAGs the provider's examples and those that the fault tests break; dead workers are noticed
        # sooner.
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(
            [bundle(d) for d in (PROJECT / "dags", HERE / "dags", PROJECT / "airflow_ray" / "examples")]
        ),
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_DETECTION_INTERVAL": "5",
    }
    keep = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    services = Services()
    other = socket.socket()
    with suppress(OSError):  # taken: then there is one already
        other.bind(("127.0.0.1", RAY_AGENT_PORT))
    try:
        services.start()
        yield Baton(services, home)
    finally:
        services.stop()
        other.close()
        for name, value in keep.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@pytest.fixture
def connect(baton: Baton, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Points ``ray_default`` at the cluster, or at something before it."""
    from airflow.sdk import BaseHook, Connection

    settings = json.loads(baton.services.environment()["AIRFLOW_CONN_RAY_DEFAULT"])

    def to(**changes: Any) -> None:
        if "extra" in changes:
            changes["extra"] = json.dumps(changes["extra"])
        made = Connection(conn_id="ray_default", **{**settings, **changes})
        monkeypatch.setattr(BaseHook, "get_connection", classmethod(lambda cls, conn_id: made))

    to()
    return to


@pytest.fixture
def task(baton: Baton, connect: Any) -> Iterator[Any]:
    """One task instance with a RayJobOperator; see tests/e2e/ray_task.py. Its jobs are stopped when the test ends."""
    from tests.e2e.ray_task import Task

    made = Task(baton)
    yield made
    for job in made.client.list_jobs():
        if (job.metadata or {}).get("run_id") == made.run_id:
            made.client.stop_and_wait(job.submission_id, 30)
