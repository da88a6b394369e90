"""One optimizer step and one validation, over blocks: nothing here knows Ray, so that any launcher can run it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.data.packing import IGNORED, Ids
from training.recipe import Batch, LossFunction


@dataclass(frozen=True)
class Rows:
    """Blocks of one rank: int32 arrays, each of shape (blocks, seq_len); see :class:`training.data.packing.Block`."""

    ids: Ids
    positions: Ids
    labels: Ids


def targets_of(labels: Ids) -> int:
    """How many tokens the loss predicts."""
    return int(np.count_nonzero(labels != IGNORED))


@dataclass(frozen=True)
class Layout:
    """How a model takes blocks; see :func:`training.worker.attention.layout_of`.

    Args:
        positions: pass the position of each token in its document; else the model counts them by itself.
        one_row: lay the blocks of a micro-batch end to end.
    """

    positions: bool = True
    one_row: bool = False


def micro_batches(rows: Rows, size: int, device: Any, layout: Layout) -> Iterator[Batch]:
    """``rows`` in batches of ``size`` blocks."""
    import torch

    for first in range(0, len(rows.ids), size):
        part = slice(first, first + size)
        named = {"input_ids": rows.ids[part], "labels": rows.labels[part]}
        if layout.positions:
            named["position_ids"] = rows.positions[part]
        yield {name: torch.from_numpy(_laid_out(values, layout.one_row)).to(device) for name, values in named.items()}


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
        layout: how the model takes blocks.
    """

    engine: Any
    loss: LossFunction
    micro_batch_size: int
    device: Any
    layout: Layout = Layout()

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
        for batch in micro_batches(rows, self.micro_batch_size, self.device, self.layout):
            loss = self.loss(self.engine, batch)
            summed = summed + loss.detach().double()
            self.engine.backward(loss * scale)
            own_norm = self._norm_without_zero()
            self.engine.step()
        norm = self.engine.get_global_grad_norm() if own_norm is None else own_norm
        return self.over_ranks(summed) / max(step_targets, 1), float(norm)

    def _norm_without_zero(self) -> Any:
        """The norm of all gradients, which are the same on every rank, right before the step that uses them.

        None where DeepSpeed's optimizer tells the norm: all of them do but torch's own, which it takes for fp32 without
        ZeRO (0.19), and then clips without a word.
        """
        import torch

        if hasattr(self.engine.optimizer, "_global_grad_norm") or not self.engine.is_gradient_accumulation_boundary():
            return None
        return torch.nn.utils.get_total_norm(p.grad for p in self.engine.module.parameters() if p.grad is not None)

    def measure(self, rows: Rows) -> tuple[float, int]:
        """Summed loss (nats) and targets of this validation set over all ranks, without learning from it."""
        import torch

        summed: Any = 0.0
        training = self.engine.module.training
        self.engine.eval()
        with torch.no_grad():
            for batch in micro_batches(rows, self.micro_batch_size, self.device, self.layout):
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
