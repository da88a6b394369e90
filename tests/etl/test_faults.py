"""Whatever Spark dies of in mid work: the job says so, nothing becomes visible, and a plain retry makes the snapshot."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from handoff.crash_points import ENVIRONMENT_VARIABLE
from handoff.run_dir import RunDir
from handoff.verify import verify_chain
from tests.etl.corpus_run import ended, nothing_published

pytestmark = pytest.mark.faults


def retry_succeeds(run: RunDir) -> None:
    again = ended("etl.job", run.uri)
    assert again.returncode == 0, again.stdout
    record = run.record("corpus")
    assert record and record.artifact and not record.reused
    assert [link.problems for link in verify_chain(run.store, record.artifact)] == [[], []]
    assert "passages cut from them" in again.stdout


@pytest.mark.parametrize(
    ("label", "victim"),
    [
        ("read, clean, cut", "jvm"),
        ("de-duplicate, split", "jvm"),
        ("read, clean, cut", "python"),
        ("shuffle, write", "jvm"),
        ("de-duplicate, split", "memory"),
    ],
)
def test_a_process_of_spark_that_is_killed(pending_run: RunDir, tmp_path: Path, label: str, victim: str) -> None:
    died = ended("tests.etl.dying_job", pending_run.uri, label, victim)
    assert f"killed {victim}" in died.stdout, died.stdout
    jvm = "Spark's JVM died"
    what = {"jvm": [jvm], "python": ["a Python worker of Spark died"], "memory": [jvm, "Spark ran out of memory"]}
    last = died.stdout.splitlines()[-1]
    assert any(last.startswith(f"ERROR corpus: {words}") for words in what[victim]) and "Remedy" in last, died.stdout
    assert died.returncode == 75  # a retry may help
    record = pending_run.record("corpus")
    assert record and record.status == "failed" and record.retry_helps
    assert nothing_published(tmp_path)
    retry_succeeds(pending_run)


@pytest.mark.parametrize("point", ["publish.written", "publish.checked"])
def test_a_killed_job_leaves_neither_a_snapshot_nor_a_jvm(pending_run: RunDir, tmp_path: Path, point: str) -> None:
    died = ended("etl.job", pending_run.uri, **{ENVIRONMENT_VARIABLE: point})
    assert died.returncode == -9, died.stdout
    assert not list((tmp_path / "artifacts").glob("corpus/*/_MANIFEST.json"))
    marks = [p for p in psutil.process_iter() if str(tmp_path) in " ".join(_command(p))]
    _, alive = psutil.wait_procs(marks, timeout=30)
    assert not alive
    retry_succeeds(pending_run)


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_a_full_scratch_disk_is_named(pending_run: RunDir, tmp_path: Path) -> None:
    """Spark's local directory on a file system of its own, of half a megabyte."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    script = f'mount -t tmpfs -o size=512k baton {scratch} && exec {sys.executable} -m etl.job "$RUN"'
    command = ["unshare", *(["-m"] if os.geteuid() == 0 else ["-rm"]), "sh", "-c", script]
    environment = {**os.environ, "RUN": pending_run.uri, "SPARK_LOCAL_DIRS": str(scratch)}
    died = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert died.returncode == 75, died.stdout + died.stderr
    assert "a disk that Spark writes to is full. Remedy: free space" in died.stdout.splitlines()[-1]
    assert nothing_published(tmp_path)
    retry_succeeds(pending_run)
