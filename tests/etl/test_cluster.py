"""A Spark cluster of two machines, as Spark sees it: a master and two workers on loopback addresses of their own.

One executor is slowed down until the job has ended: Spark gives its tasks to the other one as well, twice the work is
written, and the snapshot is the one that a machine alone makes.
"""

import os
import re
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from etl.java import find_java_home
from etl.spark_conf import quiet_conf
from handoff.run_dir import RunDir
from handoff.verify import verify_chain
from orchestration.ports import any_free_port
from tests.e2e.waiting import wait_until
from tests.etl.corpus_run import ended, rows, snapshot

pytestmark = pytest.mark.faults
BIN = Path(sysconfig.get_path("purelib")) / "pyspark" / "bin"
MASTER, WORKERS = "127.0.0.1", ("127.0.0.2", "127.0.0.3")
SPECULATION = {
    "spark.speculation": "true",
    "spark.speculation.interval": "50ms",
    "spark.speculation.multiplier": "1.2",
    "spark.speculation.quantile": "0.1",
    "spark.speculation.minTaskRuntime": "50ms",
    "spark.locality.wait": "0",
    "spark.scheduler.minRegisteredResourcesRatio": "1.0",  # no task before both executors are there
}


@pytest.fixture
def master(tmp_path: Path) -> Iterator[str]:
    """URL of the cluster's master; two workers of one core and 1 GiB."""
    port = any_free_port(MASTER)
    url = f"spark://{MASTER}:{port}"
    deploy, small = "org.apache.spark.deploy", {"SPARK_DAEMON_MEMORY": "256m"}
    environment = {**os.environ, **small, "JAVA_HOME": find_java_home(tmp_path), "SPARK_WORKER_DIR": f"{tmp_path}/work"}
    commands = [[f"{deploy}.master.Master", "--host", MASTER, "--port", str(port), "--webui-port", "0"]]
    for host in WORKERS:
        address = ["--host", host, "--webui-port", "0", "--cores", "1", "--memory", "1g"]
        commands.append([f"{deploy}.worker.Worker", *address, url])
    started = []
    with (tmp_path / "cluster.log").open("w") as log:
        for command in commands:
            spark_class = [str(BIN / "spark-class"), *command]
            started.append(subprocess.Popen(spark_class, env=environment, stdout=log, stderr=subprocess.STDOUT))
        text = tmp_path / "cluster.log"
        wait_until(lambda: text.read_text().count("Registering worker") == 2, "both workers have registered")
        yield url
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(30)


def executors() -> dict[str, psutil.Process]:
    """The executors by the address of their worker."""
    found = {}
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
        except psutil.Error:
            continue
        if "org.apache.spark.executor.CoarseGrainedExecutorBackend" in command:
            found[command[command.index("--hostname") + 1]] = process
    return {host: found[host] for host in WORKERS if host in found}


class SlowedDown:
    """Holds a process for nine tenths of the time while the block lasts."""

    def __init__(self, process: psutil.Process) -> None:
        self._process, self._ended = process, threading.Event()
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        while not self._ended.is_set() and self._process.is_running():
            self._process.send_signal(signal.SIGSTOP)
            time.sleep(0.9)
            self._process.send_signal(signal.SIGCONT)
            time.sleep(0.1)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def submitted(run: RunDir, master: str, tmp_path: Path) -> "subprocess.Popen[str]":
    conf = {
        **quiet_conf(f"{tmp_path}/spark.log"),
        **SPECULATION,
        "spark.executor.memory": "700m",
        "spark.driver.host": MASTER,
        "spark.driver.bindAddress": MASTER,
        "spark.ui.enabled": "false",
    }
    options = [option for key, value in conf.items() for option in ("--conf", f"{key}={value}")]
    job = Path(__file__).parents[2] / "etl" / "job.py"
    environment = {**os.environ, "JAVA_HOME": find_java_home(tmp_path), "PYSPARK_PYTHON": sys.executable}
    return subprocess.Popen(
        [str(BIN / "spark-submit"), "--master", master, *options, str(job), run.uri],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_slow_machine_whose_tasks_run_twice_gives_the_same_snapshot(
    pending_run: RunDir, master: str, tmp_path: Path
) -> None:
    job = submitted(pending_run, master, tmp_path)
    try:
        log, known = tmp_path / "spark.log", ": Registered executor "
        wait_until(lambda: log.exists() and log.read_text().count(known) == 2, "both executors are registered")
        with SlowedDown(executors()[WORKERS[1]]):
            told, _ = job.communicate(timeout=400)
    finally:
        job.kill()
    assert job.returncode == 0, told
    assert f"on {master}, 2 cores" in told
    twice = re.findall(r"Marking task .* as speculatable", log.read_text())
    assert twice, "no task was given to the other machine as well"
    record = pending_run.record("corpus")
    assert record and record.artifact
    assert [link.problems for link in verify_chain(pending_run.store, record.artifact)] == [[], []]
    made = snapshot(record, pending_run)
    alone = RunDir(str(tmp_path / "alone"))
    alone.create(str(tmp_path / "elsewhere"), pending_run.config)
    calm = ended("etl.job", alone.uri)
    assert calm.returncode == 0, calm.stdout
    other_record = alone.record("corpus")
    assert other_record
    other = snapshot(other_record, alone)
    assert (other.id, other.manifest.facts) == (made.id, made.manifest.facts)
    assert all(rows(other, split) == rows(made, split) for split in ("train", "validation", "test"))
