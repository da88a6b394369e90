"""One optimizer step and one validation, over blocks: nothing here knows Ray, so that any launcher can run it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.packing import IGNORED, Ids

Batch = dict[str, Any]  # int64 tensors input_ids, position_ids, labels, each of shape (rows, tokens)
LossFunction = Callable[[Any, Batch], Any]


def next_token_loss(model: Any, batch: Batch) -> Any:
    """The loss that training minimises: cross-entropy of each target token given those before it in its document.

    This is the function to replace for a training step of your own: see ``examples/own_loss.py``. Whatever replaces it
    is called once per micro-batch, on every rank, between DeepSpeed's gradient steps.

    Args:
        model: the DeepSpeed engine; call it like the model.
        batch: int64 tensors on the model's device, each of shape (rows, tokens): ``input_ids``; ``position_ids``, which
            start again at 0 with each document; ``labels``, not shifted, ``IGNORED`` where there is nothing to learn.

    Returns:
        The loss *summed* over the batch's targets (a scalar that can be differentiated). What the step reports, and
        the gradient, is the sum over all ranks and micro-batches divided by the number of targets of the whole step:
        each token weighs the same, wherever it was dealt to.
    """
    import torch

    logits = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False).logits
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), batch["labels"][:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
    )


@dataclass(frozen=True)
class Rows:
    """Blocks of one rank: int32 arrays, each of shape (blocks, seq_len); see :class:`training.packing.Block`."""

    ids: Ids
    positions: Ids
    labels: Ids


def targets_of(labels: Ids) -> int:
    """How many tokens the loss predicts."""
    return int(np.count_nonzero(labels != IGNORED))


def micro_batches(rows: Rows, size: int, device: Any, *, one_row: bool) -> Iterator[Batch]:
    """``rows`` in batches of ``size`` blocks; with ``one_row`` those of a batch are laid end to end."""
    import torch

    for first in range(0, len(rows.ids), size):
        part = slice(first, first + size)
        named = {"input_ids": rows.ids[part], "position_ids": rows.positions[part], "labels": rows.labels[part]}
        yield {name: torch.from_numpy(_laid_out(values, one_row)).to(device) for name, values in named.items()}


def _laid_out(values: Ids, one_row: bool) -> npt.NDArray[np.int64]:
    return (values.reshape(1, -1) if one_row else values).astype(np.int64)


@dataclass(frozen=True)
class Stepper:
    """Steps an engine over blocks.

    Args:
        engine: of DeepSpeed.
        loss: sums the loss of a micro-batch.
        micro_batch_size: blocks per forward pass.
        device: torch device of the inputs.
        one_row: lay the blocks of a micro-batch end to end.
    """

    engine: Any
    loss: LossFunction
    micro_batch_size: int
    device: Any
    one_row: bool = False

    def step(self, rows: Rows, step_targets: int, rate: float) -> tuple[float, float]:
        """One optimizer step over this rank's blocks; every rank calls it.

        Args:
            rows: as many on each rank, a multiple of the micro-batch.
            step_targets: predicted tokens over all ranks.
            rate: learning rate.

        Returns:
            Loss in nats per predicted token, over all ranks, and the gradient's norm before clipping.
        """
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate
        summed: Any = 0.0
        # DeepSpeed averages gradients over ranks and micro-batches. Undone, so that each token weighs the same.
        scale = self.engine.dp_world_size * self.engine.gradient_accumulation_steps() / max(step_targets, 1)
        for batch in micro_batches(rows, self.micro_batch_size, self.device, one_row=self.one_row):
            loss = self.loss(self.engine, batch)
            summed = summed + loss.detach().double()
            self.engine.backward(loss * scale)
            self.engine.step()
        norm = self.engine.get_global_grad_norm()
        return self.over_ranks(summed) / max(step_targets, 1), float(norm) if norm is not None else 0.0

    def measure(self, rows: Rows) -> tuple[float, int]:
        """Summed loss (nats) and targets of this validation set over all ranks, without learning from it."""
        import torch

        summed: Any = 0.0
        training = self.engine.module.training
        self.engine.eval()
        with torch.no_grad():
            for batch in micro_batches(rows, self.micro_batch_size, self.device, one_row=self.one_row):
                summed = summed + self.loss(self.engine, batch).double()
        self.engine.train(training)
        return self.over_ranks(summed), int(self.over_ranks(targets_of(rows.labels)))

    def over_ranks(self, value: Any) -> float:
        """Sum of a figure (a number or a scalar tensor) over all ranks."""
        import torch
        import torch.distributed

        total = torch.as_tensor(value, dtype=torch.float64, device=self.device).reshape(1).clone()
        torch.distributed.all_reduce(total)
        return float(total)
