"""What determines a model: part of its id, and what a run may not change between its attempts."""

import json
from typing import Any

from handoff.errors import ConfigError
from handoff.identity import identity_of
from handoff.run_dir import RunDir
from registry.mlflow_run import flat
from training.config import TrainingConfig

CODE_VERSION = 3  # part of the model's id: raise it when the same inputs and configuration give other weights or files
BEGUN = "training-begun.json"  # in the run's directory: what its first attempt was to train


def identity(config: TrainingConfig) -> dict[str, Any]:
    """What of the configuration determines the weights; part of the model's id. The base model is a parent."""
    return {"training": identity_of(config)}


def refuse_changes(run: RunDir, settings: dict[str, Any]) -> None:
    """See that a run which trains again does so with what it began with; its first attempt notes it.

    A change would train another model from the start, beside checkpoints that look like its own.

    Raises:
        ConfigError: listing every setting that differs.
    """
    now = flat(settings)
    try:
        begun: dict[str, str] = json.loads(run.read(BEGUN))
    except FileNotFoundError:
        run.write(BEGUN, json.dumps(now, indent=2).encode())
        return
    if changed := [k for k in sorted(begun.keys() | now.keys()) if begun.get(k) != now.get(k)]:
        listed = "; ".join(f"{k} was {begun.get(k, 'unset')}, is {now.get(k, 'unset')}" for k in changed)
        raise ConfigError(
            f"this run began its training with other settings: {listed}. Remedy: set them back, or start a new run"
        )
