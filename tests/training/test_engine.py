"""The engine without Ray, as torchrun would start it: compiled or not, the losses are the same."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.bare_train import save
from training.config import BaseModelConfig, TrainingConfig
from training.data.ingest import rows_of
from training.data.packing import Passage, pack

STEPS, SEQ_LEN = 3, 32


def losses(directory: Path, model: Path, **settings: Any) -> list[float]:
    """Losses of some steps in a process of its own."""
    config = TrainingConfig(
        base=BaseModelConfig(source=str(model)), seq_len=SEQ_LEN, zero_stage=0, method="full", **settings
    )
    rng = np.random.default_rng(0)
    blocks = list(pack([Passage(rng.integers(1, 384, 20).astype(np.int32)) for _ in range(10)], SEQ_LEN, 0))
    save(rows_of(blocks[:STEPS], STEPS, SEQ_LEN), directory / "blocks.npz")
    spec = {
        "config": config.model_dump(mode="json"), "directory": str(model), "steps": STEPS,
        "blocks": str(directory / "blocks.npz"), "out": str(directory / "out.json"),
    }  # fmt: skip
    (directory / "spec.json").write_text(json.dumps(spec))
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29541"}
    command = [sys.executable, "-m", "bench.bare_train", str(directory / "spec.json")]
    done = subprocess.run(command, env=os.environ | alone, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-2000:]
    return [e["loss"] for e in json.loads((directory / "out.json").read_text())["trace"]]


@pytest.mark.faults  # not a fault, but as long: compiling takes a minute
def test_a_compiled_model_trains_to_the_same_losses(tiny_model: Path, tmp_path: Path) -> None:
    config = json.loads((tiny_model / "config.json").read_text()) | {"attention_dropout": 0.0}
    calm = tmp_path / "model"
    calm.mkdir()
    for file in tiny_model.iterdir():
        (calm / file.name).write_bytes(file.read_bytes())
    (calm / "config.json").write_text(json.dumps(config))
    plain = losses(tmp_path, calm)
    assert plain[-1] != plain[0]
    assert losses(tmp_path, calm, torch_compile=True) == pytest.approx(plain, rel=1e-4)
