"""``python -m bench.train_gpu``: MFU of full fine-tuning in bf16 on one GPU, without network; SKIPPED where there is none.

A Llama of about 1 B random weights on blocks of random tokens, each filled by one document: plain, then with the
optimizer's state in host memory and gradients accumulated over 8 passes. The micro-batch is doubled as long as it fits.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bench.bare_train import save
from bench.train import HOME, WARM_UP, shown, speed
from bench.train_data import make_model
from reporting.hardware import describe_machine, gpus
from training.config import BaseModelConfig, TrainingConfig
from training.estimate import Shape
from training.meters import flops_per_token, mfu
from training.packing import IGNORED
from training.step import Rows

SIZES = {
    "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 16,
    "max_position_embeddings": 2048, "vocab_size": 32_000,
}  # fmt: skip
SEQ_LEN, STEPS = 2048, 20
LARGEST_MICRO_BATCH = 32


def random_blocks(count: int) -> Rows:
    """Blocks of one document each."""
    ids = np.random.default_rng(0).integers(1, SIZES["vocab_size"], (count, SEQ_LEN), dtype=np.int32)
    labels = ids.copy()
    labels[:, 0] = IGNORED
    return Rows(ids, np.tile(np.arange(SEQ_LEN, dtype=np.int32), (count, 1)), labels)


def train(base: Path, micro_batch: int, accumulation: int, *, offload: bool) -> dict[str, Any] | None:
    """Rank 0's outcome of :mod:`bench.bare_train`; None where memory ran out."""
    config = TrainingConfig(
        base=BaseModelConfig(source=str(base)), method="full", precision="bf16", use_gpu=True, zero_stage=2,
        seq_len=SEQ_LEN, micro_batch_size=micro_batch, global_batch_tokens=SEQ_LEN * micro_batch * accumulation,
        offload_optimizer=offload, activation_checkpointing=True, cpus_per_worker=8,
    )  # fmt: skip
    place = HOME / "gpu"
    place.mkdir(parents=True, exist_ok=True)
    save(random_blocks(STEPS * config.blocks_per_step), place / "blocks.npz")
    spec = {
        "config": config.model_dump(mode="json"), "directory": str(base), "steps": STEPS,
        "blocks": str(place / "blocks.npz"), "out": str(place / "out.json"),
    }  # fmt: skip
    (place / "spec.json").write_text(json.dumps(spec))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "1", "-m", "bench.bare_train"]
    done = subprocess.run([*command, str(place / "spec.json")], capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads((place / "out.json").read_text())
    if "OutOfMemoryError" in done.stderr:
        return None
    raise RuntimeError(done.stderr[-2000:])


def best(base: Path, accumulation: int, *, offload: bool) -> tuple[int, dict[str, Any]]:
    """The fastest micro-batch among 1, 2, 4, ... that fit, and its outcome."""
    size, found = 1, list[tuple[int, dict[str, Any]]]()
    while size <= LARGEST_MICRO_BATCH and (outcome := train(base, size, accumulation, offload=offload)):
        found.append((size, outcome))
        size *= 2
    return max(found, key=lambda one: speed(one[1]["trace"]))


def main() -> None:
    """Print the figures, or SKIPPED."""
    if not gpus():
        print("SKIPPED: bench-train-gpu needs an NVIDIA GPU, this machine has none")
        return
    for key, value in describe_machine().items():
        print(f"{key}: {value}")
    base = make_model(HOME / "model-1b", tokenizer=False, **SIZES)
    shape = Shape.of_config(json.loads((base / "config.json").read_text()))
    assert shape
    flops = flops_per_token(shape.parameters, shape.parameters, shape.layers, shape.hidden, SEQ_LEN / 2)
    for name, accumulation, offload in (("plain", 1, False), ("optimizer offloaded, 8 passes a step", 8, True)):
        size, outcome = best(base, accumulation, offload=offload)
        rates = [e["tokens"] / e["seconds"] for e in outcome["trace"][WARM_UP:]]
        share = mfu(speed(outcome["trace"]), flops, gpus()[0])
        print(
            f"{name}: micro-batch {size}, {shown(rates)} tokens/s over {len(rates)} steps, "
            f"{outcome['memory_bytes'] / 1e9:.1f} GB, MFU {f'{share:.3f}' if share else 'unknown: no peak for this card'}"
        )


if __name__ == "__main__":
    main()
