"""``python -m bench.gpu``: all figures that need a GPU, within nine minutes; prints SKIPPED without one.

Inference comes first and needs torch and transformers alone. Training needs deepspeed and pydantic besides; neither
needs Ray, MLflow or a network. Each figure is printed as it is known, and what time does not suffice for is named.
"""

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path

from bench.inference_gpu import inference
from handoff.machine import describe_machine, gpus

HOME = Path("var/bench-gpu").resolve()
SECONDS = 9 * 60.0
FOR_INFERENCE = 170.0
FOR_TRAINING = ("deepspeed", "pydantic")


def until(end: float) -> Callable[[], float]:
    """Seconds that are left until ``end`` (``time.monotonic``)."""
    return lambda: end - time.monotonic()


def main() -> None:
    """Print the figures, or SKIPPED."""
    begun = time.monotonic()
    if not gpus():
        print("SKIPPED: bench-gpu needs an NVIDIA GPU, this machine has none")
        return
    for key, value in describe_machine().items():
        print(f"{key}: {value}", flush=True)
    inference(HOME, gpus()[0], until(begun + FOR_INFERENCE))
    if missing := [name for name in FOR_TRAINING if importlib.util.find_spec(name) is None]:
        print(f"training: SKIPPED: {' and '.join(missing)} not installed")
        return
    from bench.train_gpu import training

    training(until(begun + SECONDS))
    print(f"all in {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
