"""A run whose train stage has made a model: the tiny model as the base, and again with other weights as the tuned one."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from handoff.artifact import Artifact
from handoff.manifest import now
from handoff.publish import describe_in_place, staging
from handoff.run_dir import RunDir, StageRecord
from handoff.store import Store
from inference.config import InferenceConfig
from training.files import put_directory


def publish_models(store: Store, directory: Path, corpus: Artifact) -> tuple[Artifact, Artifact]:
    """(base, tuned). The base uses its files in place, as a local directory does."""
    with staging(store, "model", {"source": str(directory)}, []) as place:
        base = place.publish(in_place=[describe_in_place(str(f)) for f in sorted(directory.iterdir())])
    with staging(store, "model", {"steps": 1}, [corpus, base]) as place:
        with tempfile.TemporaryDirectory() as scratch:
            shutil.copytree(directory, scratch, dirs_exist_ok=True)
            shift_weights(Path(scratch))
            put_directory(Path(scratch), place)
        tuned = place.publish()
    return base, tuned


def shift_weights(directory: Path) -> None:
    """Change the weights a little, as tuning does."""
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(directory)
    torch.manual_seed(1)
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(torch.randn_like(weights) * 0.02)
    model.save_pretrained(directory)


def make_run(directory: Path, store: Store, tuned: Artifact, config: InferenceConfig) -> RunDir:
    """A run directory with this inference section and a finished train stage."""
    run = RunDir(str(directory))
    run.create(store.root, {"inference": config.model_dump(mode="json")})
    run.save(StageRecord(stage="train", status="success", started=now(), ended=now(), artifact=tuned.id))
    return run
