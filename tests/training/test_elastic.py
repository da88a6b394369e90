"""Machines and processes go, hang and come back while training runs on two real Ray nodes."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from handoff.artifact import Artifact
from handoff.errors import EXIT_INFRASTRUCTURE
from handoff.run_dir import RunDir

pytestmark = [pytest.mark.faults, pytest.mark.ray]

SECONDS = 0.5  # of each micro-batch: time enough to break something
SETTINGS = {"seq_len": 64, "max_steps": 60, "epochs": 9, "global_batch_tokens": 256, "checkpoint_every_steps": 3}


class Job:
    """The train stage in a process of its own, and its log while it runs."""

    def __init__(self, run: RunDir, address: str, log: Path, seconds: float) -> None:
        self.run, self.log = run, log
        command = [sys.executable, "-m", "tests.training.slow_job", run.uri, str(seconds)]
        with log.open("w") as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, env=os.environ | {"RAY_ADDRESS": address}
            )

    def wait_for(self, pattern: str, seconds: float = 240) -> None:
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.log.read_text()):
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {pattern}\n{self.log.read_text()[-3000:]}"
            time.sleep(0.5)

    def model(self) -> Artifact:
        assert self.process.wait(400) == 0, self.log.read_text()[-3000:]
        return self.run.artifact("train", digests=True)


@pytest.fixture
def nodes() -> Iterator[Any]:
    """A Ray cluster of one node with one CPU, to which nodes can be added."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "object_store_memory": 150 << 20, "include_dashboard": False},
    )
    yield cluster
    cluster.shutdown()


@pytest.fixture
def start(
    nodes: Any, make_run: Callable[..., RunDir], tiny_model: Path, tmp_path: Path
) -> Iterator[Callable[..., Job]]:
    """``start("name", min_workers=1)``: training of a model that drops nothing out, so that its losses can be compared."""
    calm = tmp_path / "model"
    calm.mkdir()
    for file in tiny_model.iterdir():
        (calm / file.name).write_bytes(file.read_bytes())
    config = json.loads((calm / "config.json").read_text()) | {"attention_dropout": 0.0}
    (calm / "config.json").write_text(json.dumps(config))
    jobs: list[Job] = []

    def make(name: str, seconds: float, **training: Any) -> Job:
        run = make_run(name, base={"source": str(calm)}, **SETTINGS, **training)
        jobs.append(Job(run, nodes.address, tmp_path / f"{name}.log", seconds))
        return jobs[-1]

    yield make
    for job in jobs:
        if job.process.poll() is None:
            job.process.kill()


def losses(model: Artifact) -> list[float]:
    return [s["loss"] for s in model.manifest.facts["steps"]]


def consumed(model: Artifact) -> list[str]:
    """Every block that any rank lists, sorted as they stand in the epochs."""
    files = Path(model.data, "audit").iterdir()
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    blocks = [block for line in lines for block in line["blocks"]]
    return sorted(blocks, key=lambda block: tuple(map(int, block.split("-"))))


@pytest.mark.timeout(900)
def test_a_lost_node_and_one_that_comes_cost_no_block_and_change_no_loss(nodes: Any, start: Callable[..., Job]) -> None:
    second = nodes.add_node(num_cpus=1, object_store_memory=150 << 20)
    undisturbed = start("undisturbed", 0.0).model()
    assert {s["workers"] for s in undisturbed.manifest.facts["steps"]} == {2}

    job = start("elastic", SECONDS, min_workers=1)
    job.wait_for(r"train: [1-9]\d/60 steps")
    nodes.remove_node(second, allow_graceful=False)
    job.wait_for(r"with 1 worker \(2 before\)")
    assert "train: a worker was lost after step" in job.log.read_text()
    job.wait_for(r"train: [2-9]\d/60 steps")
    nodes.add_node(num_cpus=1, object_store_memory=150 << 20)
    job.wait_for(r"there is room for more; 2 workers \(1 before\)")
    model = job.model()

    workers = [s["workers"] for s in model.manifest.facts["steps"]]
    groups = [n for at, n in enumerate(workers) if at == 0 or workers[at - 1] != n]
    assert groups == [2, 1, 2], workers
    assert losses(model) == pytest.approx(losses(undisturbed), rel=1e-4)
    assert consumed(model) == consumed(undisturbed) and len(set(consumed(model))) == 60 * 4


@pytest.mark.timeout(600)
def test_a_worker_that_hangs_is_given_up_after_the_time_that_is_set(nodes: Any, start: Callable[..., Job]) -> None:
    nodes.add_node(num_cpus=1, object_store_memory=150 << 20)
    job = start("hangs", SECONDS, hang_seconds=20)
    job.wait_for(r"train: [1-9]\d/60 steps")
    stopped = max(processes_of(nodes, "TrainWorker"), key=lambda p: p.create_time())
    stopped.suspend()
    since = time.monotonic()
    job.wait_for("train: a worker was lost after step")
    assert time.monotonic() - since > 15, "it was given the time"
    assert not stopped.is_running() or stopped.status() == psutil.STATUS_ZOMBIE
    model = job.model()
    assert model.manifest.facts["restarts"] == 1 and len(set(consumed(model))) == 60 * 4


@pytest.mark.timeout(600)
def test_a_controller_that_dies_costs_an_attempt_which_the_next_one_makes_good(
    nodes: Any, start: Callable[..., Job]
) -> None:
    nodes.add_node(num_cpus=1, object_store_memory=150 << 20)
    job = start("headless", SECONDS)
    job.wait_for(r"train: [1-9]\d/60 steps")
    (controller,) = processes_of(nodes, "TrainController")
    controller.kill()
    assert job.process.wait(120) == EXIT_INFRASTRUCTURE, "a failure that a retry may mend"
    assert "ERROR train: " in job.log.read_text().splitlines()[-1]
    again = start("headless", 0.0)
    model = again.model()
    assert re.search(r"resumed from the checkpoint of step \d+", again.log.read_text())
    steps = model.manifest.facts["steps"]
    assert [s["step"] for s in steps] == list(range(1, 61)) and len(set(consumed(model))) == 60 * 4


def processes_of(nodes: Any, title: str) -> list[psutil.Process]:
    """Processes on the cluster's nodes whose title has these letters."""
    started = [
        psutil.Process(process.process.pid)
        for node in nodes.list_all_nodes()
        for process in node.all_processes["raylet"]
    ]
    return [c for raylet in started for c in raylet.children(recursive=True) if title in " ".join(c.cmdline())]
