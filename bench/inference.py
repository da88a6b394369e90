"""``python -m bench.inference [PROMPTS] [RUNS] [MILLION]``: what the engines and the actor pool make of the same prompts.

Three comparisons; answers are compared before any time is shown, and loading a model counts on no side:

- *engines*: each engine in a loop against ``generate`` as most people call it, batches of 8 in the file's order.
  Prompts have 4 to 80 words and answers are sentences of SmolLM2-135M, greedy, in fp32.
- *pool*: the predict stage with one replica, streamed from a file to Parquet, against that loop. Both with one core, as
  replicas have by default, and with all cores: then what Ray itself does has none left.
- *rows*: a million short prompts and a tiny model: rows per second, the driver's peak memory beside that of 1,000
  prompts, and whether every id is there once and in order.

vLLM takes part where ``make vllm-env`` has run.
"""

import hashlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.inference_data import HOME, make_run, openings, sentence_model, tiny_model, write_prompts
from handoff.errors import ConfigError
from handoff.machine import describe_machine
from handoff.tokenizer import ModelTokenizer
from inference.advice import engine_advice
from inference.config import InferenceConfig
from inference.engines.load import load_engine
from inference.engines.vllm import vllm_python

LONGEST, PLAIN_BATCH = 64, 8
ALIKE = 0.97  # of the answers must be equal: where two tokens tie within rounding, batches of other shapes part ways
FEW = 1000  # prompts that the driver's memory for a million is compared with


@dataclass(frozen=True)
class Outcome:
    """Answers as texts, and how fast they came."""

    texts: list[str]
    tokens: int
    seconds: float

    @property
    def speed(self) -> float:
        return self.tokens / self.seconds


def settings(**values: Any) -> InferenceConfig:
    """Greedy answers of one replica."""
    common: dict[str, Any] = {"max_new_tokens": LONGEST, "temperature": 0, "baseline_prompts": 0}
    return InferenceConfig(**(common | values))


class Bench:
    """The prompts, the model, and the ways to answer them with so many cores."""

    def __init__(self, count: int, cores: int) -> None:
        self.cores = cores
        self.model, self.prompts = sentence_model(), openings(count)
        self.tokenizer = ModelTokenizer.of_directory(self.model)
        self.ids = self.tokenizer.prompts(self.prompts)
        write_prompts(HOME / "prompts.jsonl", self.prompts)

    def outcome(self, answers: Sequence[Sequence[int]], seconds: float) -> Outcome:
        made = [self.tokenizer.completion(prompt, ids) for prompt, ids in zip(self.ids, answers, strict=True)]
        return Outcome(made, sum(map(len, answers)), seconds)

    def plain(self) -> Outcome:
        """``generate`` in batches of 8, in the file's order."""
        import torch
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(self.cores)
        model: Any = AutoModelForCausalLM.from_pretrained(self.model, dtype=torch.float32).eval()
        answers: list[list[int]] = []
        begun = time.monotonic()
        for first in range(0, len(self.ids), PLAIN_BATCH):
            part = self.ids[first : first + PLAIN_BATCH]
            width = max(map(len, part))
            tokens = torch.tensor([[self.tokenizer.end_id] * (width - len(ids)) + ids for ids in part])
            mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in part])
            made = model.generate(
                input_ids=tokens, attention_mask=mask, max_new_tokens=LONGEST, do_sample=False,
                eos_token_id=list(self.tokenizer.stop_ids), pad_token_id=self.tokenizer.end_id,
            )  # fmt: skip
            answers += [self.tokenizer.until_stop(row) for row in made[:, width:].tolist()]
        return self.outcome(answers, time.monotonic() - begun)

    def bare(self, engine: str) -> Outcome:
        """An engine in a loop."""
        loaded = load_engine(settings(engine=engine, cpus_per_actor=self.cores), str(self.model), self.tokenizer)
        answers: list[list[int]] = [[] for _ in self.ids]
        try:
            begun = time.monotonic()
            for batch in loaded.batches([len(ids) for ids in self.ids]):
                made = loaded.generate([self.ids[i] for i in batch], [0] * len(batch))
                for i, (answer,) in zip(batch, made, strict=True):
                    answers[i] = answer.token_ids
            seconds = time.monotonic() - begun
        finally:
            loaded.close()
        return self.outcome(answers, seconds)

    def pool(self, engine: str) -> Outcome:
        """The predict stage, whose clock starts with the first batch and ends with the last one."""
        config = settings(engine=engine, prompts=str(HOME / "prompts.jsonl"), cpus_per_actor=self.cores)
        run, _ = predict(HOME / "pool", self.model, config)
        table = predictions(run)
        facts = run.artifact("predict").manifest.facts
        tokens = int(facts["completion_tokens"])
        return Outcome(table["completion"].to_pylist(), tokens, tokens / float(facts["tokens_per_second"]))


def predict(directory: Path, model: Path, config: InferenceConfig) -> tuple[Any, int]:
    """The predict stage in a process of its own. Returns the run, and the process' peak memory in bytes."""
    run = make_run(directory, model, config)
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with (directory / "log.txt").open("w") as log:
        job = subprocess.Popen(
            [sys.executable, "-m", "inference.job", run.uri], stdout=log, stderr=subprocess.STDOUT, env=environment
        )
        peak = 0
        while job.poll() is None:
            peak = max(peak, peak_bytes(job.pid))
            time.sleep(0.2)
    if job.returncode:
        raise RuntimeError(f"{directory / 'log.txt'}: {(directory / 'log.txt').read_text()[-2000:]}")
    return run, peak


def peak_bytes(pid: int) -> int:
    """Peak resident memory of a process so far; 0 once it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)


def predictions(run: Any) -> pa.Table:
    return pa.concat_tables([pq.read_table(file) for file in run.artifact("predict").files()])


def alike(name: str, found: Outcome, expected: Outcome) -> None:
    """Compare answers. Raises RuntimeError where too few are equal."""
    same = sum(a == b for a, b in zip(found.texts, expected.texts, strict=True))
    print(f"  {name}: {same} of {len(expected.texts)} answers equal to those of generate")
    if same < ALIKE * len(expected.texts):
        raise RuntimeError(f"{name} gives other answers")


def shown(values: Sequence[float]) -> str:
    return f"{statistics.median(values):,.1f} ({min(values):,.1f} to {max(values):,.1f})"


def engines(bench: Bench, runs: int) -> None:
    """Both engines and the pool of each, beside plain ``generate``."""
    kinds = ["transformers"]
    try:
        vllm_python()
        kinds.append("vllm")
    except ConfigError as error:
        print(f"vllm: SKIPPED: {error}")
    sides: dict[str, Callable[[], Outcome]] = {f"generate, batches of {PLAIN_BATCH}": bench.plain}
    for kind in kinds:
        sides[kind] = partial(bench.bare, kind)
        sides[f"{kind}, pool of one"] = partial(bench.pool, kind)
    found: dict[str, list[Outcome]] = {name: [] for name in sides}
    for number in range(runs):
        for name, side in sides.items():
            found[name].append(side())
            speed, load = found[name][-1].speed, os.getloadavg()[0]
            print(f"  run {number + 1}, {name}: {speed:,.1f} tokens/s, load average {load:.1f}", flush=True)
    print(f"with {bench.cores} of {os.cpu_count()} cores:")
    plain, *others = found
    for name in others:
        alike(name, found[name][0], found[plain][0])
    medians = {name: statistics.median(o.speed for o in done) for name, done in found.items()}
    for name, done in found.items():
        print(f"  {name:<26} {shown([o.speed for o in done])} tokens/s, {done[0].tokens:,} tokens")
    for kind in kinds:
        print(f"  {kind} / generate: {medians[kind] / medians[plain]:.2f} (goal 2 on a CPU with the better engine)")
        print(f"  {kind}: pool / loop {medians[f'{kind}, pool of one'] / medians[kind]:.3f} (goal 0.95)")


def rows(count: int) -> None:
    """A few short prompts, then many: speed, memory of the driver, every id once and in order."""
    model, peaks = tiny_model(), []
    for number in (FEW, count):
        file = HOME / f"{number}.jsonl"
        write_prompts(file, (f"Line {n} of" for n in range(number)))
        config = settings(prompts=str(file), max_new_tokens=2)
        begun = time.monotonic()
        run, peak = predict(HOME / "rows", model, config)
        seconds = time.monotonic() - begun
        peaks.append(peak)
        made, asked = hashlib.sha256(), hashlib.sha256()
        for file_ in run.artifact("predict").files():
            made.update("".join(pq.read_table(file_, columns=["id"])["id"].to_pylist()).encode())
        asked.update("".join(f"{n:07d}" for n in range(number)).encode())
        order = "every id once and in order" if made.digest() == asked.digest() else "IDS DIFFER"
        print(
            f"rows: {number:,} in {seconds:,.1f} s, {number / seconds:,.0f} rows/s, start-up included; {order}; ",
            end="",
        )
        print(f"driver's peak {peak / 1e6:,.0f} MB", flush=True)
    print(f"  driver's peak grew by {(peaks[1] - peaks[0]) / 1e6:,.0f} MB (goal 200)")


def main(count: int, runs: int, many: int) -> None:
    """Print all figures."""
    for key, value in describe_machine().items():
        print(f"{key}: {value}")
    print(f"load average {os.getloadavg()[0]:.1f}; {count} prompts; {runs} runs of each side; median (least to most)")
    for cores in sorted({1, os.cpu_count() or 1}):
        engines(Bench(count, cores), runs)
    print(f"plan says: {engine_advice(settings(prompts='prompts.jsonl'))}")
    rows(many)


if __name__ == "__main__":
    given = [int(value) for value in sys.argv[1:]]
    main(*(given + [128, 3, 1_000_000][len(given) :]))
