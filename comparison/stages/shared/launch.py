"""What the forms of the stages ``train`` and ``recover`` share: a training prepared, and each launcher's worker."""

import os
import shutil
import subprocess
import sys
from typing import Any

from comparison.form import Work
from comparison.stages.shared.keepers import RayTrain
from comparison.stages.shared.model import first_blocks, model_of
from comparison.stages.shared.steps import BLOCKS_PER_WORKER, SEQ_LEN, WORKERS, Training, train

STEPS = 24


def prepared(work: Work, *, kill_at: int = 0, shared: bool = False) -> Training:
    """A training of ``STEPS`` steps on the first documents, its notes and checkpoints of former runs removed.

    Args:
        kill_at: step after which rank 1 is killed once.
        shared: workers write checkpoints into a directory that they share.
    """
    model = model_of(work)
    blocks = first_blocks(work, model, STEPS * WORKERS * BLOCKS_PER_WORKER, SEQ_LEN)
    place = work.scratch / "training"
    shutil.rmtree(place, ignore_errors=True)
    (place / "notes").mkdir(parents=True)
    checkpoints = str(place / "checkpoints") if shared else ""
    return Training(
        str(model), str(blocks), str(work.output), str(place / "notes"), STEPS, checkpoints, kill_at=kill_at
    )


def ray_worker(settings: dict[str, Any]) -> None:
    """Body of a Ray Train worker; with a keeper only where a restart needs it."""
    training = Training(**settings)
    train(training, RayTrain() if training.kill_at else None)


def ray_options(work: Work) -> dict[str, Any]:
    """Arguments of ``TorchTrainer`` that both stages need: gloo on loopback, a core for each worker."""
    from ray.train import ScalingConfig
    from ray.train.torch import TorchConfig

    if work.tuned:  # one node has nothing to move to: saves a process, 5 s of CPU at each start
        os.environ["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"
    each = {"CPU": min(1.0, work.cores / WORKERS)}
    return {
        "torch_config": TorchConfig("gloo"),
        "scaling_config": ScalingConfig(num_workers=WORKERS, resources_per_worker=each),
    }


def torchrun(work: Work, training: Training, *options: str) -> None:
    """Train under torchrun. Raises RuntimeError with the workers' own errors."""
    spec = work.scratch / "training" / "spec.json"
    training.save(spec)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(WORKERS), "--nnodes", "1"]
    endpoint = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1"]
    # By default torch 2.13 keeps one store over restarts: new workers may find the addresses of dead ones in it.
    settings = {"OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    done = subprocess.run(
        [*command, *endpoint, *options, "-m", "comparison.stages.shared.steps", str(spec)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | settings,
    )  # fmt: skip
    if done.returncode:
        errors = [line for line in done.stdout.splitlines() if "Error" in line]
        raise RuntimeError(
            f"torchrun ended with {done.returncode}: {chr(10).join(errors)[:2000] or done.stdout[-2000:]}"
        )
