"""A training step of your own: here label smoothing. ``python -m examples.own_loss RUN_DIR`` trains with it.

Everything else stays as in ``python -m training.job RUN_DIR``: data, sharding, checkpoints, restarts, export. The
function's name and source are part of the model's id, so a changed loss makes a new model. In the DAG, name this module
in place of ``training.job``.
"""

import functools
import sys
from typing import Any

from handoff.job import run_stage
from training.job import train
from training.packing import IGNORED
from training.step import Batch

SMOOTHING = 0.1


def smoothed_loss(model: Any, batch: Batch) -> Any:
    """Cross-entropy against targets of which a tenth is spread over the vocabulary (Szegedy et al., 2016).

    Args, and what to return: see :func:`training.step.next_token_loss`, which this replaces.
    """
    import torch

    logits = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False).logits
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(),
        batch["labels"][:, 1:].flatten(),
        ignore_index=IGNORED,
        reduction="sum",
        label_smoothing=SMOOTHING,
    )


if __name__ == "__main__":
    sys.exit(run_stage("train", functools.partial(train, loss=smoothed_loss, track=True), sys.argv[1:]))
