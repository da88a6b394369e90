"""The predict stage killed on purpose: what is written stays, nothing is there twice, and the rows are those of a whole run."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from handoff.artifact import Artifact, open_artifact
from handoff.errors import EXIT_USER_ERROR
from handoff.run_dir import RunDir
from handoff.store import Store
from inference.config import InferenceConfig
from inference.prompt_rows import PromptRows
from inference.prompts import publish_prompts
from inference.text_stages import ModelReference
from tests.inference.support import complete, make_run, publish_models, rows_of, write_prompts

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

ROWS = 640
ENGINE = "MapWorker"  # in the titles of the pool's processes


@dataclass
class Started:
    """The stage in a process of its own, with a Ray of its own."""

    run: RunDir
    process: subprocess.Popen[str]

    def shards(self) -> list[str]:
        found = Path(self.run.store.root).glob("predictions/*/work/answers/rows/*.parquet")
        return sorted(path.stem for path in found if not path.name.startswith("."))

    def wait_for(self, what: Callable[[], Any], seconds: float = 240) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := what():
                return found
            assert self.process.poll() is None, f"the stage ended early: {self.output()}"
            time.sleep(0.01)
        raise AssertionError(f"nothing happened in {seconds} s")

    def actors(self) -> list[psutil.Process]:
        return [p for p in family(self.process.pid) if ENGINE in title(p)]

    def output(self) -> str:
        return self.process.communicate(timeout=300)[0]

    def kill(self) -> None:
        """Kill the driver, and wait until nothing of its Ray is left that could still write."""
        mine = family(self.process.pid)
        self.process.kill()
        self.process.wait()
        for process in mine:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(mine, timeout=30)


def family(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def title(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


@pytest.fixture
def start(store: Store, tiny_model: Path, tiny_corpus: Artifact, tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """Starts the stage on 640 prompts, in forty shards of sixteen; always on the same run."""
    _, tuned = publish_models(store, tiny_model, tiny_corpus)
    uri = write_prompts(tmp_path / "asked.jsonl", ROWS)
    config = InferenceConfig(prompts=uri, baseline_prompts=0, max_new_tokens=48, num_actors=2, window_rows=16)
    publish_prompts(store, config, None)  # so that a crash while publishing is one of the predictions
    run = make_run(tmp_path / "run", store, tuned, config)
    running: list[Started] = []

    def begin(**environment: str) -> Started:
        environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | environment
        process = subprocess.Popen(
            [sys.executable, "-m", "inference.job", run.uri],
            env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        running.append(Started(run, process))
        return running[-1]

    yield begin
    for started in running:
        started.kill()


def assert_whole(run: RunDir) -> None:
    """Every prompt once, in order, with the text that this process makes of it."""
    rows = rows_of(run)
    assert [row["id"] for row in rows] == [f"p{n}" for n in range(ROWS)]
    prompts = PromptRows.of(open_artifact(run.store, str(run.artifact("predict").manifest.parent("prompts"))))
    config = run.section("inference", InferenceConfig)
    model = ModelReference.of(run.artifact("train"))
    expected = complete(model, prompts.read(0, ROWS), config, 16)["completion"].to_pylist()
    assert [row["completion"] for row in rows] == expected


def metrics_of(run: RunDir) -> dict[str, Any]:
    record = run.record("predict")
    assert record is not None and record.status == "success", record
    return record.metrics


def test_a_driver_killed_half_way_costs_a_tenth_of_a_pass_at_most(start: Callable[..., Started]) -> None:
    first = start()
    first.wait_for(lambda: len(first.shards()) >= 20)
    first.kill()
    written = first.shards()
    begun = len(list(Path(first.run.store.root).glob("predictions/*/work/answers/attempts/*.json")))
    assert len(written) < 40, "it was killed too late to show anything"
    again = start()
    text = again.output()
    assert again.process.returncode == 0, text
    metrics = metrics_of(again.run)
    assert metrics["resumed_rows"] == 16 * len(written) and f"{16 * len(written):,} of 640 rows are written" in text
    # What the killed attempt had begun and not written is done twice: of each replica the shard in work, at most.
    assert (ROWS + 16 * begun) / ROWS <= 1.10
    assert_whole(again.run)


def test_two_actors_killed_at_once_are_started_again(start: Callable[..., Started]) -> None:
    stage = start()
    victims = stage.wait_for(lambda: len(stage.shards()) >= 8 and len(found := stage.actors()) == 2 and found)
    for victim in victims:
        victim.send_signal(signal.SIGKILL)
    text = stage.output()
    assert stage.process.returncode == 0, text
    assert 1 <= metrics_of(stage.run)["restarts"] <= 2  # one may have been between two shards
    assert "Traceback" not in text and "were lost with their processes" in text
    assert_whole(stage.run)


def test_a_driver_killed_while_publishing_generates_nothing_again(start: Callable[..., Started]) -> None:
    for point in ("publish.checked", "publish.visible"):
        first = start(BATON_CRASH_AT=point)
        first.process.wait(timeout=300)
        assert first.process.returncode == -signal.SIGKILL
        again = start()
        assert again.process.wait(timeout=300) == 0
        record = again.run.record("predict")
        assert record is not None
        assert record.reused if point == "publish.visible" else record.metrics["resumed_rows"] == ROWS
        assert_whole(again.run)
        identity = str(record.artifact)
        assert not list(again.run.store.files(f"predictions/{identity}/work"))
        shutil.rmtree(Path(again.run.store.root, "predictions", identity))


def test_a_model_that_is_removed_meanwhile_is_named(start: Callable[..., Started]) -> None:
    stage = start()
    stage.wait_for(lambda: len(stage.shards()) >= 4)
    tuned = stage.run.artifact("train")
    shutil.rmtree(tuned.directory)
    for victim in stage.actors():
        victim.send_signal(signal.SIGKILL)
    text = stage.output()
    assert stage.process.returncode == EXIT_USER_ERROR, text
    told = next(line for line in text.splitlines() if line.startswith("ERROR predict"))  # Ray's own words may follow
    assert tuned.id in told and "does not exist" in told
    assert stage.shards(), "what is written stays"
