"""The parts of training that a user can replace: the loss function and the model class."""

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from training.data.packing import IGNORED

Batch = dict[
    str, Any
]  # int64 tensors input_ids, labels and, of packed blocks, position_ids, each of shape (rows, tokens)
LossFunction = Callable[[Any, Batch], Any]


def inputs_of(batch: Batch) -> Batch:
    """What a model is called with: all of a batch but its labels."""
    return {name: values for name, values in batch.items() if name != "labels"}


def next_token_loss(model: Any, batch: Batch) -> Any:
    """The loss that training minimises: cross-entropy of each target token given those before it in its document.

    This is the function to replace for a training step of your own: see ``examples/own_step.py``. Whatever replaces it
    is called once per micro-batch, on every rank, between DeepSpeed's gradient steps.

    Args:
        model: the DeepSpeed engine; call it like the model.
        batch: int64 tensors on the model's device, each of shape (rows, tokens): ``input_ids``; where documents share
            blocks ``position_ids``, which start again at 0 with each document; ``labels``, not shifted, ``IGNORED``
            where there is nothing to learn.

    Returns:
        The loss *summed* over the batch's targets (a scalar that can be differentiated). What the step reports, and
        the gradient, is the sum over all ranks and micro-batches divided by the number of targets of the whole step:
        each token weighs the same, wherever it was dealt to.
    """
    import torch

    logits = model(**inputs_of(batch), use_cache=False).logits
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), batch["labels"][:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
    )


@dataclass(frozen=True)
class Recipe:
    """What makes a training more than its configuration.

    Args:
        loss: sums the loss of a micro-batch; see :func:`next_token_loss`.
        model_class: a ``PreTrainedModel`` that trains in place of the one the base model names, with the same
            parameters under the same names, because what comes out is a model of the base's class.
    """

    loss: LossFunction = next_token_loss
    model_class: Any = None

    def identity(self) -> dict[str, Any]:
        """Name and source digest of each replaced part; part of the model's id."""
        own = {"loss": self.loss if self.loss is not next_token_loss else None, "model_class": self.model_class}
        return {name: _named(part) for name, part in own.items() if part is not None}


DEFAULT_RECIPE = Recipe()


def _named(part: Any) -> dict[str, str]:
    source = hashlib.sha256(inspect.getsource(part).encode()).hexdigest()
    return {"name": f"{part.__module__}.{part.__qualname__}", "sha256": source}
