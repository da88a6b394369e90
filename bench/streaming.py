"""``python -m bench.streaming [SECONDS]``: do a CPU stage and a device stage of equal cost work at the same time?

The CPU stage keeps a core busy for a known time per block; the device is emulated by a lock that is held through a sleep.
One stage after the other would take 2 times the longer one, perfect overlap 1 time. Two sides:

- *Ray Data*: two ``map_batches``, tasks and one actor.
- *pool*: the predict stage's own pipeline (``inference.pipeline.answer_all``), with shards that are read and rendered,
  answered by the emulated device, decoded and written. Every row must be there once before a time is shown.

Time counts from the first block that is read to the last one's end, so starting the actor counts and starting Ray does
not. The Ray Data paper (Luan et al. 2025, "The Streaming Batch Model for Efficient and Fault-Tolerant Heterogeneous
Execution") has 1.37 for Ray and 2.13 for Spark, on its own machines and stages.
"""

import fcntl
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from bench.inference_data import HOME, make_run, tiny_model, write_prompts
from engines.alone import Limits
from engines.ray import connect
from handoff.artifact import open_artifact
from handoff.machine import describe_machine
from handoff.store import Store
from handoff.working import Working
from inference.config import InferenceConfig
from inference.engines.base import Answer
from inference.generator import Generator
from inference.pipeline import Task, answer_all
from inference.prompt_rows import PromptRows
from inference.prompts import publish_prompts
from inference.shards import Answers
from inference.text_stages import ModelReference

BLOCKS, ROWS = 30, 16  # blocks, and rows in each
PAPER = "the Ray Data paper's figures, on its machines: Ray 1.37, Spark 2.13"
GOAL = 1.3


@dataclass(frozen=True)
class Clock:
    """Notes when each stage worked, in files, as the stages are in processes of their own."""

    directory: str

    def note(self, stage: str, begun: float) -> None:
        with open(f"{self.directory}/{stage}", "a") as file:
            file.write(f"{begun} {time.time()}\n")

    def told(self, stage: str) -> list[tuple[float, float]]:
        lines = Path(self.directory, stage).read_text().splitlines()
        return [(float(begun), float(ended)) for begun, ended in map(str.split, lines)]

    def prepare(self, seconds: float) -> None:
        """Keep a core busy."""
        begun = time.time()
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass
        self.note("cpu", begun)

    def use_device(self, seconds: float) -> None:
        """Hold the device, which one caller at a time can use."""
        with open(f"{self.directory}/lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            begun = time.time()
            time.sleep(seconds)
            self.note("device", begun)

    def show(self, name: str) -> None:
        """Print what the two stages took, and all of it."""
        cpu, device = self.told("cpu"), self.told("device")
        if len(cpu) != BLOCKS or len(device) != BLOCKS:
            raise RuntimeError(f"{name}: {len(cpu)} blocks prepared and {len(device)} answered, not {BLOCKS}")
        whole = max(end for _, end in device) - min(begun for begun, _ in cpu)
        costs = [sum(end - begun for begun, end in stage) for stage in (cpu, device)]
        print(
            f"  {name}: CPU stage {costs[0]:.1f} s, device stage {costs[1]:.1f} s, together {whole:.1f} s: "
            f"{whole / max(costs):.2f} x the longer (goal {GOAL}), load average {os.getloadavg()[0]:.1f}",
            flush=True,
        )


@dataclass(frozen=True)
class SlowPrompts(PromptRows):
    """Prompts whose reading takes a core's time, as rendering of long ones does."""

    clock: Clock
    seconds: float

    def read(self, start: int, stop: int) -> pa.Table:
        self.clock.prepare(self.seconds)
        return super().read(start, stop)


class Device:
    """An engine that does nothing but hold the emulated device."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock, self._seconds, self.limits = clock, seconds, Limits()

    def __call__(self, batch: pa.Table) -> pa.Table:
        self._clock.use_device(self._seconds)
        return batch

    def batches(self, lengths: Sequence[int], limits: Limits | None = None) -> list[list[int]]:
        return [list(range(len(lengths)))]

    def generate(self, prompts: Sequence[Any], seeds: Sequence[int]) -> list[list[Answer]]:
        self._clock.use_device(self._seconds)
        return [[Answer(list(prompt[:1]), "length")] for prompt in prompts]


class Emulated(Generator):
    """The pool's actor with the emulated device. Where it is and how long it takes is in the place of the answers."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._engine: Any = Device(Clock(str(_directory("pool"))), float(os.environ["BATON_BENCH_SECONDS"]))


def _directory(side: str) -> Path:
    return HOME / "streaming" / side


def ray_data(clock: Clock, each: float) -> None:
    """Two stages of Ray Data, nothing else."""
    import ray

    def prepare(batch: pa.Table) -> pa.Table:
        clock.prepare(each)
        return batch

    blocks = ray.data.from_blocks([pa.table({"block": [number]}) for number in range(BLOCKS)])
    answered = blocks.map_batches(prepare, batch_format="pyarrow", batch_size=None, concurrency=1).map_batches(
        Device, fn_constructor_args=(clock, each), batch_format="pyarrow", batch_size=None, num_cpus=0,
        compute=ray.data.ActorPoolStrategy(size=1),
    )  # fmt: skip
    if sorted(row["block"] for row in answered.take_all()) != list(range(BLOCKS)):
        raise RuntimeError("Ray Data lost blocks")


def pool(clock: Clock, each: float) -> None:
    """The predict stage's pipeline."""
    count = BLOCKS * ROWS
    file = HOME / "streaming" / "prompts.jsonl"
    write_prompts(file, (f"Line {n} of" for n in range(count)))
    config = InferenceConfig(prompts=str(file), baseline_prompts=0, window_rows=ROWS, max_new_tokens=2)
    run = make_run(HOME / "streaming" / "run", tiny_model(), config)
    store = Store(run.store.root)
    model = ModelReference.of(open_artifact(store, str(run.artifact("train").id)))
    rows = PromptRows.of(publish_prompts(store, config, None))
    slow = SlowPrompts(rows.storage, rows.id, rows.total, rows.count, clock, each)
    task = Task(slow, model, None, config, Answers(Working.of(store, "predictions", {}, []), "answers"))
    answer_all(task, lambda summary: None, Emulated)
    done = task.answers.done()
    found = [name for shard in done for name in task.answers.read(shard)[0]["id"].to_pylist()]
    if found != [f"{n:07d}" for n in range(count)]:
        raise RuntimeError("the pool lost rows")


def main(seconds: float) -> None:
    """Print both figures."""
    each = seconds / BLOCKS
    for key, value in describe_machine().items():
        print(f"{key}: {value}")
    print(f"streaming: {BLOCKS} blocks, {each:.2f} s of a core and {each:.2f} s of the device for each; {PAPER}")
    os.environ["BATON_BENCH_SECONDS"] = str(each)
    connect()
    for name, side in {"Ray Data": ray_data, "pool": pool}.items():
        directory = _directory(name)
        directory.mkdir(parents=True, exist_ok=True)
        for stage in ("cpu", "device"):
            (directory / stage).unlink(missing_ok=True)
        clock = Clock(str(directory))
        side(clock, each)
        clock.show(name)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 30.0)
