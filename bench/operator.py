"""RayJobOperator: its overhead over Ray's own client, and random kills. `make bench-operator`.

Both sides of the overhead run on one warm cluster, in turns. For the kills each attempt runs in a process of its own
that is killed with SIGKILL at a random moment, until an attempt ends by itself. Then the jobs are counted.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import random
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

BODY = "import pathlib, time; p = pathlib.Path({0!r}); (p / f'start-{{time.time()}}').touch(); time.sleep({1}); (p / f'end-{{time.time()}}').touch()"
KILLS_PER_TASK = 2
LATEST_KILL_SECONDS = 5.0  # about the whole life of a job: start, a second of work, end


class FileMemory:
    """A task state store that survives the process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self._path.read_text()).get(key, default) if self._path.exists() else default

    def set(self, key: str, value: Any) -> None:
        found = json.loads(self._path.read_text()) if self._path.exists() else {}
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps({**found, key: value}))
        fresh.rename(self._path)


def attempt(directory: Path, run_id: str, seconds: float) -> Any:
    """An operator and its context, as a worker would make them."""
    from airflow_ray.operator import RayJobOperator

    operator = RayJobOperator(task_id="job", entrypoint=["python", "-c", BODY.format(str(directory), seconds)])
    instance = SimpleNamespace(
        dag_id="bench", run_id=run_id, task_id="job", map_index=-1, xcom_push=lambda key, value: None
    )
    memory = FileMemory(directory / "memory.json")
    return operator, {"ti": instance, "dag_run": SimpleNamespace(clear_number=0), "task_state_store": memory}


def kill_until_it_ends(root: Path, least: int, seed: int, results: Any) -> None:
    """Kill attempts of one task after another, ``KILLS_PER_TASK`` times each at most, until ``least`` were killed."""
    chance, killed = random.Random(seed), 0
    for number in itertools.count():
        if killed >= least:
            results.put(None)
            return
        directory = root / f"{seed}-{number}"
        directory.mkdir()
        run_id = f"kill-{seed}-{number}-{time.time_ns()}"
        kills: list[str] = []
        while True:
            child = os.fork()
            if child == 0:
                try:
                    operator, context = attempt(directory, run_id, 1.0)
                    operator.execute(context)
                    os._exit(0)
                except BaseException:
                    os._exit(1)
            if len(kills) < KILLS_PER_TASK:
                time.sleep(chance.uniform(0, LATEST_KILL_SECONDS))
                if os.waitpid(child, os.WNOHANG) == (0, 0):
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                    kills.append(phase(directory))
                    continue
                ended = "before the kill"
            else:
                ended = "success" if os.waitpid(child, 0)[1] == 0 else "failure"
            results.put((run_id, str(directory), kills, ended))
            killed += len(kills)
            break


def phase(directory: Path) -> str:
    """Where the job was when its attempt was killed."""
    for name, said in (("end-*", "after the job"), ("start-*", "while it ran")):
        if list(directory.glob(name)):
            return said
    return "after its name was saved" if (directory / "memory.json").exists() else "before its name was saved"


def random_kills(client: Any, least: int, shards: int) -> None:
    root = Path(tempfile.mkdtemp(prefix="bench-operator-"))
    context = multiprocessing.get_context("fork")
    results: Any = context.Queue()
    processes = [
        context.Process(target=kill_until_it_ends, args=(root, -(-least // shards), seed, results))
        for seed in range(shards)
    ]
    for process in processes:
        process.start()
    found = [one for _ in processes for one in iter(results.get, None)]
    for process in processes:
        process.join()
    kills = [k for _, _, ks, _ in found for k in ks]
    jobs = client.list_jobs()
    lost = doubled = 0
    for run_id, directory, _, ended in found:
        mine = [j for j in jobs if (j.metadata or {}).get("run_id") == run_id]
        starts = len(list(Path(directory).glob("start-*")))
        lost += not any(j.status == "SUCCEEDED" for j in mine) or ended == "failure"
        doubled += len(mine) > 1 or starts > 1
    print(f"\n{len(kills)} kills of {len(found)} tasks' attempts, at random moments:")
    for said in sorted(set(kills)):
        print(f"  {said:28} {kills.count(said):4}")
    print(f"lost jobs {lost}, doubled jobs {doubled}")
    if lost or doubled:
        raise SystemExit("FAILED: jobs were lost or doubled")


def reach(client: Any, name: str, *states: str) -> float:
    """When a job was first seen in one of the states, in seconds since the epoch."""
    while (details := client.find(name)) is None or details.status not in states:
        if details and details.status.is_terminal():
            raise SystemExit(f"FAILED: job {name} has {details.status}, not {' or '.join(states)}")
        time.sleep(0.05)
    return time.time()


def overhead(client: Any, runs: int) -> None:
    figures: dict[str, list[float]] = {}

    def note(what: str, seconds: float) -> None:
        figures.setdefault(what, []).append(seconds)

    root = Path(tempfile.mkdtemp(prefix="bench-operator-"))
    for number in range(runs):
        plain = root / f"plain-{number}"
        plain.mkdir()
        began = time.time()
        name = client.submit_job(entrypoint=f'python -c "{BODY.format(str(plain), 1.0)}"', submission_id=f"plain-{time.time_ns()}")  # fmt: skip
        note("submit → running, Ray's client", reach(client, name, "RUNNING", "SUCCEEDED") - began)
        reach(client, name, "SUCCEEDED")

        directory = root / str(number)
        directory.mkdir()
        operator, context = attempt(directory, f"overhead-{time.time_ns()}", 1.0)
        began = time.time()
        thread = threading.Thread(target=operator.execute, args=(context,))
        thread.start()
        while operator._job is None:
            time.sleep(0.01)
        note("task start → running, operator", reach(client, operator._job, "RUNNING", "SUCCEEDED") - began)
        thread.join()
        note("job end → task end, operator", time.time() - client.find(operator._job).end_time / 1e3)
        assert len(list(directory.glob("end-*"))) == len(list(plain.glob("end-*"))) == 1, "the two did not do the same"

        directory = root / f"stop-{number}"
        directory.mkdir()
        operator, context = attempt(directory, f"stop-{time.time_ns()}", 600)
        thread = threading.Thread(target=lambda o=operator, c=context: _quietly(o.execute, c))
        thread.start()
        while not list(directory.glob("start-*")):
            time.sleep(0.05)
        began = time.time()
        operator.on_kill()
        note("user stop → job ended", reach(client, operator._job, "STOPPED") - began)
        thread.join()
    print(f"{'seconds':34} median    min    max   (n = {runs})")
    for what, seconds in figures.items():
        print(f"{what:34} {statistics.median(seconds):6.2f} {min(seconds):6.2f} {max(seconds):6.2f}")


def _quietly(call: Any, *arguments: Any) -> None:
    try:
        call(*arguments)
    except Exception as error:
        assert "stopped" in str(error)


@contextmanager
def cluster() -> Iterator[None]:
    """``ray_default`` reaches the cluster of AIRFLOW_CONN_RAY_DEFAULT, else one that runs only here."""
    from airflow.sdk import BaseHook, Connection

    def connect(settings: dict[str, Any]) -> None:
        connection = Connection(conn_id="ray_default", **settings)
        BaseHook.get_connection = classmethod(lambda cls, conn_id: connection)  # type: ignore[method-assign, assignment]

    if given := os.environ.get("AIRFLOW_CONN_RAY_DEFAULT"):
        connect(json.loads(given))
        yield
        return
    from orchestration.services import Services

    os.environ["BATON_HOME"] = tempfile.mkdtemp(prefix="bench-operator-home-")
    services = Services()
    connect(json.loads(services.environment()["AIRFLOW_CONN_RAY_DEFAULT"]))
    try:
        services.launch("ray")
        services.wait_for_ray()
        yield
    finally:
        services.stop()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=10, help="runs of each side of the overhead")
    options.add_argument(
        "--kills", type=int, default=60, help=f"least number of kills, at most {KILLS_PER_TASK} per task"
    )
    options.add_argument("--shards", type=int, default=3, help="tasks that run at once")
    chosen = options.parse_args()
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"

    from airflow_ray.hook import RayHook
    from handoff.machine import describe_machine

    with cluster():
        client = RayHook().get_conn()
        client.submit_once(entrypoint="true", submission_id="warm-up")
        reach(client, "warm-up", "SUCCEEDED")
        machine = describe_machine()
        print(f"{machine['Processor']}, {machine['Cores']} cores, load {os.getloadavg()[0]:.1f}\n")
        if chosen.runs:
            overhead(client, chosen.runs)
        random_kills(client, chosen.kills, chosen.shards)


if __name__ == "__main__":
    main()
