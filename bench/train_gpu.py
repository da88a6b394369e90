"""``python -m bench.train_gpu``: training on one GPU, without network; prints SKIPPED without a GPU.

- *MFU* of full fine-tuning in bf16: a Llama of about 1 B random weights on blocks of random tokens, each filled by one
  document: plain, then with the optimizer's state in host memory and gradients accumulated over 8 passes.
- *Trainer*: a model of SmolLM2-135M's shape beside Hugging Face's Trainer, losses compared first.

The micro-batch is doubled as long as it fits, and the fastest one counts. The GPU's idle share comes from torch's
profiler, over separate steps.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bench.bare_train import save
from bench.train import HOME, WARM_UP, apart, shown, speed
from bench.train_data import make_model
from handoff.model_shape import Shape
from reporting.hardware import describe_machine, gpus
from training.config import BaseModelConfig, TrainingConfig
from training.data.packing import IGNORED
from training.worker.meters import flops_per_token, mfu
from training.worker.step import Rows

LLAMA_1B = {
    "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 16,
    "max_position_embeddings": 2048, "vocab_size": 32_000,
}  # fmt: skip
SMOLLM2_135M = {
    "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "max_position_embeddings": 2048, "vocab_size": 49_152, "tie_word_embeddings": True,
}  # fmt: skip
SEQ_LEN, STEPS = 2048, 20
LARGEST_MICRO_BATCH = 64
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


def best(base: Path, module: list[str], accumulation: int = 1, **values: Any) -> tuple[int, dict[str, Any]]:
    """The fastest micro-batch among 1, 2, 4, ... that fit, and its outcome."""
    size, found = 1, list[tuple[int, dict[str, Any]]]()
    while size <= LARGEST_MICRO_BATCH and (outcome := train(base, config(base, size, accumulation, **values), module)):
        found.append((size, outcome))
        size *= 2
    return max(found, key=lambda one: speed(one[1]["trace"]))


def rates(outcome: dict[str, Any]) -> str:
    """Tokens per second of the steps after the warm-up, memory, and the GPU's idle share."""
    each = [e["tokens"] / e["seconds"] for e in outcome["trace"][WARM_UP:]]
    idle = f", GPU idle {100 * outcome['gpu_idle_share']:.1f} %" if outcome.get("gpu_idle_share") is not None else ""
    return f"{shown(each)} tokens/s over {len(each)} steps, {outcome['memory_bytes'] / 1e9:.1f} GB{idle}"


def utilisation() -> None:
    """Share of the card's peak that a model of 1 B parameters reaches."""
    base = make_model(HOME / "model-1b", tokenizer=False, **LLAMA_1B)
    shape = Shape.of_config(json.loads((base / "config.json").read_text()))
    assert shape
    flops = flops_per_token(shape.parameters, shape.parameters, shape.layers, shape.hidden, SEQ_LEN / 2)
    for name, accumulation, offload in (("plain", 1, False), ("optimizer offloaded, 8 passes a step", 8, True)):
        size, outcome = best(base, OURS, accumulation, offload_optimizer=offload, activation_checkpointing=True)
        share = mfu(speed(outcome["trace"]), flops, gpus()[0])
        known = f"{share:.3f}" if share else "unknown: no peak for this card"
        print(f"{name}: micro-batch {size}, {rates(outcome)}, MFU {known}", flush=True)


def beside_trainer(base: Path, **values: Any) -> None:
    """Baton's step and the Trainer at the same micro-batch, then each at its best."""
    sides = {"Baton": OURS, "Trainer": TRAINER}
    ours, theirs = (train(base, config(base, 1, **values), module) for module in sides.values())
    assert ours and theirs, "a micro-batch of one block does not fit"
    differ, last = apart(ours, theirs), ours["trace"][-1]["loss"]
    print(f"Trainer: largest difference of the losses of {STEPS} steps {differ:.2g}; the last is {last:.4f}")
    found = {name: best(base, module, **values) for name, module in sides.items()}
    for name, (size, outcome) in found.items():
        print(f"  {name:<8} micro-batch {size}, {rates(outcome)}")
    ratio = speed(found["Baton"][1]["trace"]) / speed(found["Trainer"][1]["trace"])
    print(f"  Baton / Trainer: {ratio:.3f}")


def main() -> None:
    """Print the figures, or SKIPPED."""
    if not gpus():
        print("SKIPPED: bench-train-gpu needs an NVIDIA GPU, this machine has none")
        return
    for key, value in describe_machine().items():
        print(f"{key}: {value}")
    utilisation()
    beside_trainer(make_model(HOME / "model-135m", tokenizer=False, **SMOLLM2_135M))


if __name__ == "__main__":
    main()
