"""Training on one GPU, without network; part of `make bench-gpu`.

- *MFU* of full fine-tuning in bf16: a Llama of about 1 B random weights on blocks of random tokens, each filled by one
  document: plain, then with the optimizer's state in host memory and gradients accumulated over 8 passes.
- *Trainer*: a model of SmolLM2-135M's shape beside Hugging Face's Trainer, losses compared first.

The micro-batch grows fourfold as long as it fits and time is left, and the fastest one counts. The GPU's idle share
comes from torch's profiler, over separate steps.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.bare_train import save
from bench.inference_gpu import LLAMA_1B, SMOLLM2_135M
from bench.train import HOME, WARM_UP, apart, shown, speed
from bench.train_data import make_model
from handoff.machine import gpus
from handoff.model_shape import Shape
from training.config import BaseModelConfig, TrainingConfig
from training.data.packing import IGNORED
from training.worker.meters import flops_per_token, mfu
from training.worker.step import Rows

SEQ_LEN, STEPS = 2048, 12
LONGEST_SECONDS = 45  # of one process; none is started with less time left
SIZES, OFFLOADED, SMALL = (1, 4, 16), (4,), (4, 16, 64)  # micro-batches that are tried
OURS, TRAINER = ["torch.distributed.run", "--nproc-per-node", "1", "-m", "bench.bare_train"], ["bench.trainer_side"]


def random_blocks(count: int, seq_len: int, vocabulary: int) -> Rows:
    """Blocks of one document each."""
    ids = np.random.default_rng(0).integers(1, vocabulary, (count, seq_len), dtype=np.int32)
    labels = ids.copy()
    labels[:, 0] = IGNORED
    return Rows(ids, np.tile(np.arange(seq_len, dtype=np.int32), (count, 1)), labels)


def config(base: Path, micro_batch: int, accumulation: int = 1, **values: Any) -> TrainingConfig:
    """Full fine-tuning in bf16 on one GPU at a constant rate."""
    settings: dict[str, Any] = {
        "method": "full", "precision": "bf16", "use_gpu": True, "zero_stage": 2, "cpus_per_worker": 8,
        "seq_len": SEQ_LEN, "micro_batch_size": micro_batch, "schedule": "constant", "warmup_fraction": 0,
    } | values  # fmt: skip
    tokens = settings["seq_len"] * micro_batch * accumulation
    return TrainingConfig(base=BaseModelConfig(source=str(base)), global_batch_tokens=tokens, **settings)


def train(base: Path, settings: TrainingConfig, module: list[str], steps: int = STEPS) -> dict[str, Any] | None:
    """Outcome of a side; None if memory ran out."""
    place = HOME / "gpu"
    place.mkdir(parents=True, exist_ok=True)
    vocabulary = json.loads((base / "config.json").read_text())["vocab_size"]
    save(random_blocks(steps * settings.blocks_per_step, settings.seq_len, vocabulary), place / "blocks.npz")
    spec = {
        "config": settings.model_dump(mode="json"), "directory": str(base), "steps": steps,
        "blocks": str(place / "blocks.npz"), "out": str(place / "out.json"), "profiled_steps": WARM_UP,
    }  # fmt: skip
    (place / "spec.json").write_text(json.dumps(spec))
    command = [sys.executable, "-m", *module, str(place / "spec.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads((place / "out.json").read_text())
    if "OutOfMemoryError" in done.stderr:
        return None
    raise RuntimeError(done.stderr[-2000:])


def best(
    base: Path, module: list[str], left: Callable[[], float], sizes: Sequence[int], accumulation: int = 1, **values: Any
) -> tuple[int, dict[str, Any]] | None:
    """The fastest of the micro-batches that fit, and its outcome; None where there was no time for any."""
    found = list[tuple[int, dict[str, Any]]]()
    for size in sizes:
        if left() < LONGEST_SECONDS or not (outcome := train(base, config(base, size, accumulation, **values), module)):
            break
        found.append((size, outcome))
    return max(found, key=lambda one: speed(one[1]["trace"])) if found else None


def rates(outcome: dict[str, Any]) -> str:
    """Tokens per second of the steps after the warm-up, memory, and the GPU's idle share."""
    each = [e["tokens"] / e["seconds"] for e in outcome["trace"][WARM_UP:]]
    idle = f", GPU idle {100 * outcome['gpu_idle_share']:.1f} %" if outcome.get("gpu_idle_share") is not None else ""
    return f"{shown(each)} tokens/s over {len(each)} steps, {outcome['memory_bytes'] / 1e9:.1f} GB{idle}"


def utilisation(left: Callable[[], float]) -> None:
    """Share of the card's peak that a model of 1 B parameters reaches."""
    base = make_model(HOME / "model-1b", tokenizer=False, **LLAMA_1B)
    shape = Shape.of_config(json.loads((base / "config.json").read_text()))
    assert shape
    flops = flops_per_token(shape.parameters, shape.parameters, shape.layers, shape.hidden, SEQ_LEN / 2)
    for name, sizes, accumulation, offload in (
        ("plain", SIZES, 1, False), ("optimizer offloaded, 8 passes a step", OFFLOADED, 8, True),
    ):  # fmt: skip
        found = best(base, OURS, left, sizes, accumulation, offload_optimizer=offload, activation_checkpointing=True)
        if found is None:
            print(f"training, {name}: not measured, the time is up", flush=True)
            continue
        size, outcome = found
        share = mfu(speed(outcome["trace"]), flops, gpus()[0])
        known = f"{share:.3f}" if share else "unknown: no peak for this card"
        print(f"training, {name}: micro-batch {size}, {rates(outcome)}, MFU {known}", flush=True)


def beside_trainer(base: Path, left: Callable[[], float], **values: Any) -> None:
    """Baton's step and the Trainer at the same micro-batch, then each at its best."""
    sides = {"Baton": OURS, "Trainer": TRAINER}
    if left() < 2 * LONGEST_SECONDS:
        print("training beside the Trainer: not measured, the time is up")
        return
    ours, theirs = (train(base, config(base, 1, **values), module) for module in sides.values())
    assert ours and theirs, "a micro-batch of one block does not fit"
    differ, last = apart(ours, theirs), ours["trace"][-1]["loss"]
    print(
        f"Trainer: largest difference of the losses of {STEPS} steps {differ:.2g}; the last is {last:.4f}", flush=True
    )
    found = {name: best(base, module, left, SMALL, **values) for name, module in sides.items()}
    for name, one in found.items():
        print(f"  {name:<8} " + (f"micro-batch {one[0]}, {rates(one[1])}" if one else "not measured"), flush=True)
    if all(found.values()):
        rate = {name: speed(one[1]["trace"]) for name, one in found.items() if one}
        print(f"  Baton / Trainer: {rate['Baton'] / rate['Trainer']:.3f}", flush=True)


def training(left: Callable[[], float]) -> None:
    """Print the figures that time suffices for.

    Args:
        left: seconds until the time is up.
    """
    beside_trainer(make_model(HOME / "model-135m", tokenizer=False, **SMOLLM2_135M), left)
    utilisation(left)
