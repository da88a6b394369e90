"""``python -m bench.train [RUNS]``: what Ray Train and sharding cost, what packing gains, what a killed worker loses.

Four comparisons, both sides of each in one run of this script, in turns; losses are compared before any time is shown:

- *launcher*: Ray Train against torchrun: the same step, engine, blocks and two processes.
- *packing*: lines of Shakespeare packed into blocks against lines padded to 256 tokens, the published recipe's way.
- *sharding*: ZeRO 3 on two processes of one thread against one process of two threads, at the same batch.
- *kill*: steps made with a worker killed half-way through, over the steps of a clean pass.
"""

import json
import logging
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from bench.bare_train import save
from bench.train_data import make_model, publish_lines
from engines.ray import connect
from handoff.crash_points import ENVIRONMENT_VARIABLE
from handoff.machine import describe_machine
from handoff.store import Store
from handoff.tokenizer import ModelTokenizer
from registry.tracking import LiveRun
from training.base.artifact import publish_base_model
from training.config import BaseModelConfig, TrainingConfig
from training.data.ingest import Passages, rows_of
from training.data.packing import pack
from training.fit import Training, fit

HOME = Path("var/bench-train").resolve()
STEPS, WARM_UP = 24, 3  # the first steps of a process allocate and, in Ray, start the reading tasks
LINES, HELD_OUT = 20_000, 512
LONG_STEP = 16  # blocks of a step, so many that computing them dominates
SHARDED_STEPS = 8
LINES_PER_STEP, PACKING_STEPS, PASSES = 256, 6, 4  # half of the published recipe's 512 lines; forward passes a step


class Recorder(LiveRun):
    """Records every step, including those that a restart repeats."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def begin(self) -> None: ...
    def flush(self) -> None: ...
    def end(self) -> None: ...
    def failed(self) -> None: ...
    def step(self, entry: dict[str, Any]) -> None:
        self.entries.append(entry)


def config(base: Path, **values: Any) -> TrainingConfig:
    """Full fine-tuning in fp32 on two workers of one core."""
    settings = {"method": "full", "zero_stage": 2, "num_workers": 2, "seq_len": 512, "learning_rate": 1e-3}
    return TrainingConfig(base=BaseModelConfig(source=str(base)), **(settings | values))


class Bench:
    """The corpus, the model, and the two ways to train on them."""

    def __init__(self) -> None:
        self.base = make_model(HOME / "model")
        self.store = Store(str(HOME / "artifacts"))
        self.corpus = publish_lines(self.store, LINES, HELD_OUT)
        self.model = publish_base_model(BaseModelConfig(source=str(self.base)), self.store, HOME)
        self.tokenizer = ModelTokenizer.of_model(self.model)

    def passages(self, split: str = "train") -> Passages:
        return Passages.of_corpus(self.corpus, split, self.tokenizer, 0.0, 1)

    def bare(self, name: str, settings: TrainingConfig, steps: int, validate: bool = False) -> dict[str, Any]:
        """Train under torchrun; rank 0's trace, and ``start_up`` in seconds."""
        directory = HOME / name
        directory.mkdir(parents=True, exist_ok=True)
        spec: dict[str, Any] = {
            "config": settings.model_dump(mode="json"), "directory": str(self.base), "steps": steps,
            "blocks": str(directory / "blocks.npz"), "out": str(directory / "out.json"),
        }  # fmt: skip
        count = steps * settings.blocks_per_step
        blocks = pack(self.passages().stream_here(), settings.seq_len, self.tokenizer.end_id, padded=settings.padded)
        save(rows_of(list(islice(blocks, count)), count, settings.seq_len), directory / "blocks.npz")
        if validate:  # each line alone, on both sides
            held_out = pack(self.passages("validation").stream_here(), 256, self.tokenizer.end_id, padded=True)
            alone = list(held_out)
            save(rows_of(alone, len(alone), 256), directory / "validation.npz")
            spec["validation"] = str(directory / "validation.npz")
        (directory / "spec.json").write_text(json.dumps(spec))
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(settings.num_workers)]
        begun = time.time()
        with (directory / "log.txt").open("w") as log:
            subprocess.run(
                [*command, "--master-port", "29531", "-m", "bench.bare_train", str(directory / "spec.json")],
                check=True, stdout=log, stderr=subprocess.STDOUT, env=os.environ | {"OMP_NUM_THREADS": str(int(settings.cpus_per_worker))},
            )  # fmt: skip
        found = json.loads((directory / "out.json").read_text())
        total = time.time() - begun
        return found | {"start_up": total - sum(e["seconds"] for e in found["trace"])}

    def ray(self, name: str, settings: TrainingConfig, steps: int) -> dict[str, Any]:
        """Train under Ray Train, as the train stage does; every step that was made, and ``start_up`` in seconds."""
        place = HOME / "ray"
        shutil.rmtree(place / name, ignore_errors=True)
        heard, begun = Recorder(), time.time()
        fit(Training(settings, self.model, self.passages(), steps, str(place), name), heard)
        shutil.rmtree(place / name)
        times = [e["step_seconds"] for e in heard.entries]
        trace = [e | {"seconds": s} for e, s in zip(heard.entries, times, strict=True)]
        return {"trace": trace, "start_up": time.time() - begun - sum(times)}


def speed(trace: Sequence[dict[str, Any]], real: Sequence[int] | None = None) -> float:
    """Median tokens per second of the steps after the warm-up."""
    tokens = real or [e["tokens"] for e in trace]
    return statistics.median(t / e["seconds"] for t, e in list(zip(tokens, trace, strict=True))[WARM_UP:])


def shown(values: Sequence[float], digits: int = 0) -> str:
    """Median and spread."""
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def in_turns(sides: dict[str, Callable[[], dict[str, Any]]], runs: int) -> dict[str, list[dict[str, Any]]]:
    """Outcomes of each side, ``runs`` times in turns."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for _ in range(runs):
        for name, run in sides.items():
            found[name].append(run())
            print(f"  {name}: load average {os.getloadavg()[0]:.1f}", flush=True)
    return found


def apart(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Largest difference of two outcomes' losses, step by step."""
    return max(abs(a["loss"] - b["loss"]) for a, b in zip(one["trace"], other["trace"], strict=True))


def launcher(bench: Bench, runs: int) -> None:
    """Ray Train beside torchrun."""
    settings = config(bench.base, checkpoint_every_steps=10 * STEPS)
    sides = {
        "torchrun": lambda: bench.bare("launcher", settings, STEPS),
        "Ray Train": lambda: bench.ray("launcher", settings, STEPS),
    }
    found = in_turns(sides, runs)
    differ, last = apart(found["torchrun"][0], found["Ray Train"][0]), found["torchrun"][0]["trace"][-1]["loss"]
    print(f"launcher: largest difference of the losses of {STEPS} steps {differ:.2g}; the last is {last:.4f}")
    tokens = [settings.tokens_per_step] * STEPS
    rates = {name: [speed(run["trace"], tokens) for run in done] for name, done in found.items()}
    for name, done in found.items():
        print(
            f"  {name:<10} {shown(rates[name])} tokens/s, start-up and end {shown([r['start_up'] for r in done], 1)} s"
        )
    ratio = statistics.median(rates["Ray Train"]) / statistics.median(rates["torchrun"])
    print(f"  Ray Train / torchrun: {ratio:.3f} (goal 0.95)")


def packing(bench: Bench, runs: int) -> None:
    """Packed lines beside lines padded to 256 tokens."""
    one_pass = LINES_PER_STEP // 2 // PASSES  # lines of one of the two workers
    accumulated = {"global_batch_tokens": LINES_PER_STEP * 256, "micro_batch_size": one_pass}
    padded = config(bench.base, seq_len=256, packing="padded", checkpoint_every_steps=999, **accumulated)
    lengths = [len(p.ids) for p in islice(bench.passages().stream_here(), PACKING_STEPS * LINES_PER_STEP)]
    # The padded side's real tokens of a step in one pass of PASSES blocks.
    per_block = sum(lengths) // (2 * PASSES * PACKING_STEPS)
    packed = config(bench.base, seq_len=per_block, micro_batch_size=PASSES, checkpoint_every_steps=999)
    sides = {
        "padded": lambda: bench.bare("padded", padded, PACKING_STEPS, validate=True),
        "packed": lambda: bench.bare("packed", packed, PACKING_STEPS, validate=True),
    }
    found = in_turns(sides, runs)
    first = {name: done[0] for name, done in found.items()}
    print("packing: loss of held-out lines after the same text:", end=" ")
    print(", ".join(f"{name} {run['validation_loss']:.4f}" for name, run in first.items()))
    rates = {name: [speed(run["trace"]) for run in done] for name, done in found.items()}
    share = sum(e["tokens"] for e in first["padded"]["trace"]) / (PACKING_STEPS * padded.tokens_per_step)
    for name, values in rates.items():
        tokens = sum(e["tokens"] for e in first[name]["trace"])
        print(f"  {name:<10} {shown(values)} real tokens/s, {tokens:,} real tokens")
    gain = statistics.median(rates["packed"]) / statistics.median(rates["padded"])
    print(
        f"  packed / padded: {gain:.1f}; real-token share when padded {share:.3f}: goal 0.9 / share = {0.9 / share:.1f}"
    )


def sharding(bench: Bench, runs: int) -> None:
    """ZeRO 3 on two processes beside one process, both on two threads in all."""
    whole = {"zero_stage": 0, "num_workers": 1, "cpus_per_worker": 2, "micro_batch_size": LONG_STEP}
    one, two = config(bench.base, **whole), config(bench.base, zero_stage=3, micro_batch_size=LONG_STEP // 2)
    sides = {
        "one process": lambda: bench.bare("sharding", one, SHARDED_STEPS),
        "ZeRO 3": lambda: bench.bare("sharding", two, SHARDED_STEPS),
    }
    found, tokens = in_turns(sides, runs), two.tokens_per_step
    differ = apart(found["one process"][0], found["ZeRO 3"][0])
    print(f"sharding: {tokens:,} tokens a step; largest difference of the losses of {SHARDED_STEPS} steps {differ:.2g}")
    rates = {name: [speed(run["trace"], [tokens] * SHARDED_STEPS) for run in done] for name, done in found.items()}
    for name, values in rates.items():
        print(f"  {name:<11} {shown(values)} tokens/s")
    ratio = statistics.median(rates["ZeRO 3"]) / statistics.median(rates["one process"])
    print(f"  ZeRO 3 on two / one process: {ratio:.3f} (goal 0.9)")


def kill(bench: Bench, every: int) -> None:
    """Kill a worker half-way. Steps take seconds, so that a checkpoint is uploaded and listed within one step."""
    settings = config(bench.base, checkpoint_every_steps=every, max_failures=1, micro_batch_size=LONG_STEP // 2)
    clean = bench.ray("clean", settings, STEPS)["trace"]
    os.environ[ENVIRONMENT_VARIABLE] = f"train.step{STEPS // 2 + 1}.rank1"
    try:
        killed = bench.ray("killed", settings, STEPS)["trace"]
    finally:
        del os.environ[ENVIRONMENT_VARIABLE]
    last = {e["step"]: e["loss"] for e in killed}
    differ = max(abs(last[e["step"]] - e["loss"]) for e in clean)
    made = len(killed) + 1  # the step in which the worker was killed was made but not recorded
    print(f"kill: largest difference of the losses {differ:.2g}")
    print(f"  {made} steps made for {STEPS}, a checkpoint every {every}: {made / STEPS:.3f} of the work (goal 1.10)")


def main(runs: int) -> None:
    """Run all four and print their figures."""
    logging.getLogger("baton").setLevel(logging.WARNING)
    for key, value in describe_machine().items():
        print(f"{key}: {value}")
    print(f"load average {os.getloadavg()[0]:.1f}; {runs} runs of each side; median (least to most)")
    bench = Bench()
    packing(bench, runs)
    sharding(bench, runs)
    connect()
    launcher(bench, runs)
    kill(bench, every=3)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
