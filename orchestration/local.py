"""``python -m orchestration.local demo|up|down|airflow``: the whole of Baton on one machine."""

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psutil

from handoff.errors import EXIT_INFRASTRUCTURE, EXIT_USER_ERROR, BatonError, InfrastructureError
from handoff.run_dir import RunDir
from handoff.stages import flow
from orchestration.airflow_api import AirflowApi
from orchestration.form_fields import TRAINING
from orchestration.paths import ALLOWED_ROOTS, run_key, run_uri
from orchestration.services import LAPTOP_ROOTS, USER, Services
from reporting.summary import stage_line, summary

DAG_ID = "spark_to_ray"
AIRFLOW_COMMAND = ".venv/bin/python -m orchestration.local airflow"
POLL_SECONDS = 1.0
QUEUED_LONG_SECONDS = 30
PARSE_TIMEOUT_SECONDS = 120
ENDED = {"success", "failed", "skipped", "upstream_failed", "removed"}


def up(services: Services) -> None:
    """Start the services unless they are running, and print their addresses."""
    if "api-server" in services.running():
        print("already running")
    else:
        print("starting Ray and Airflow ...", flush=True)
        services.start()
    print(f"Airflow  {services.ui}  user {USER}  password {services.password}")
    print(f"Ray      http://127.0.0.1:{services.ray_port}  token in {services.home / 'ray' / 'token'}")
    print(f"logs     {services.logs}")
    print(f"airflow  {AIRFLOW_COMMAND} dags list, and every other command of Airflow's, against these services")


def airflow(services: Services, arguments: list[str]) -> None:
    """Become the ``airflow`` command, with the environment of the services: their database, DAGs and connections."""
    environment = services.environment()
    os.execvpe("airflow", ["airflow", *arguments], environment)


def down(services: Services) -> None:
    stopped = services.stop()
    print(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")


def demo(services: Services, conf: dict[str, Any]) -> int:
    """Run the DAG once on this machine, a line per stage; returns an exit code.

    Uses running services, or else starts them and stops them afterwards.
    """
    started_here = not services.running()
    clock = time.monotonic()
    if started_here:
        print("starting Ray and Airflow ...", end=" ", flush=True)
        services.start()
        print(f"{time.monotonic() - clock:.0f} s", flush=True)
    memory = _PeakMemory(services)
    try:
        with memory:
            api = AirflowApi(services.ui, USER, services.password)
            return run_dag(api, services.ui, conf, clock, lambda: f"peak memory {memory.peak_bytes / 2**30:.1f} GiB")
    finally:
        if started_here:
            services.stop()


def run_dag(api: AirflowApi, ui: str, conf: dict[str, Any], clock: float, remark: Callable[[], str]) -> int:
    """Trigger the DAG, follow it to its end, and print what it made; returns an exit code.

    Args:
        api: of the Airflow, on this machine or on a cluster.
        ui: its address for people.
        conf: form fields.
        clock: ``time.monotonic`` at the start of what the closing line counts.
        remark: of the closing line, asked at the end.
    """
    was_paused = _wait_until_parsed(api)["is_paused"]
    run_id = f"demo_{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}"
    api.set_paused(DAG_ID, False)
    try:
        api.trigger(DAG_ID, run_id, conf)
        print(f"run {run_id} · {ui}/dags/{DAG_ID}/runs/{run_id}", flush=True)
        state = _follow(api, run_id)
    finally:
        if was_paused:
            api.set_paused(DAG_ID, True)
    run = RunDir(run_uri(DAG_ID, run_key(run_id)))
    print(f"{state} in {time.monotonic() - clock:.0f} s, {remark()}")
    failed = [task for task, task_state in api.task_states(DAG_ID, run_id).items() if task_state == "failed"]
    if len(failed) > 1:  # the report's task only repeats what it found
        failed = [task for task in failed if task != "report"]
    for task in failed:
        print(f"{task} failed; the end of its log:\n" + _indented(api.task_log(DAG_ID, run_id, task)))
    if failed or state != "success":
        return 1
    for line in summary(run):
        print(line)
    return 0


def _follow(api: AirflowApi, run_id: str) -> str:
    """Print a line for each stage as it ends; returns the run's final state."""
    run = RunDir(run_uri(DAG_ID, run_key(run_id)))
    told: set[str] = set()
    clock = time.monotonic()
    while True:
        state = api.run_state(DAG_ID, run_id)
        if state == "queued" and "queued" not in told and time.monotonic() - clock > QUEUED_LONG_SECONDS:
            told.add("queued")
            print(f"still queued: {DAG_ID} runs one at a time, and another run of it may be active", flush=True)
        tasks = api.task_states(DAG_ID, run_id)
        for stage in flow("training"):
            if tasks.get(stage) == "up_for_retry" and (attempt := f"{stage} again") not in told:
                told.add(attempt)
                print(
                    f"{stage}: an attempt failed and is retried in about a minute; its log has the reason", flush=True
                )
            if stage not in told and tasks.get(stage) in ENDED:
                told.add(stage)
                record = run.record(stage)
                print(stage_line(record) if record else f"{stage}: {tasks[stage]}", flush=True)
        if state in ("success", "failed"):
            return state
        time.sleep(POLL_SECONDS)


def _wait_until_parsed(api: AirflowApi) -> dict[str, Any]:
    deadline = time.monotonic() + PARSE_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if found := api.dag(DAG_ID):
            return found
        if errors := api.import_errors():
            raise BatonError(f"dags/{DAG_ID}.py cannot be imported:\n{errors[0]}")
        time.sleep(POLL_SECONDS)
    raise BatonError(f"Airflow did not parse {DAG_ID} in {PARSE_TIMEOUT_SECONDS} s. Remedy: see logs/dag-processor.log")


def _indented(text: str, lines: int = 12) -> str:
    return "\n".join(f"    {line}" for line in text.strip().split("\n")[-lines:])


class _PeakMemory(threading.Thread):
    """Samples the memory of all services and their children as proportional set size: shared pages count once."""

    def __init__(self, services: Services, every_seconds: float = 3.0) -> None:
        super().__init__(daemon=True)
        self._services, self._every = services, every_seconds
        self._ended = threading.Event()
        self.peak_bytes = 0

    def run(self) -> None:
        while not self._ended.wait(self._every):
            total = 0
            for service in self._services.running().values():
                try:
                    family = [service, *service.children(recursive=True)]
                except psutil.NoSuchProcess:
                    continue
                total += sum(map(_pss, family))
            self.peak_bytes = max(self.peak_bytes, total)

    def __enter__(self) -> "_PeakMemory":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()


def _pss(process: psutil.Process) -> int:
    try:
        return process.memory_full_info().pss
    except psutil.Error:
        return 0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m orchestration.local", description=__doc__)
    parser.add_argument("command", choices=["demo", "up", "down", "airflow"])
    parser.add_argument("--conf", type=json.loads, default={}, help="form fields as JSON, for demo")
    services = Services()
    if arguments[:1] == ["airflow"]:  # what follows is Airflow's
        airflow(services, arguments[1:])
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "demo":
            os.environ.setdefault(ALLOWED_ROOTS, LAPTOP_ROOTS)
            TRAINING.build(
                chosen.conf, datetime.now(UTC).date()
            )  # a misspelt field is reported at once, not after a minute of starting
            return demo(services, chosen.conf)
        (up if chosen.command == "up" else down)(services)
    except (BatonError, InfrastructureError) as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return EXIT_USER_ERROR if isinstance(error, BatonError) else EXIT_INFRASTRUCTURE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
