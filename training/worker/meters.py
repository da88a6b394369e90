"""What a worker measures of itself: speed, waiting for data, memory, and on a GPU how much of it is used."""

import os
import time
from typing import Any

from training.config import TrainingConfig

# Dense bf16 peak in FLOP/s, from NVIDIA's data sheets; by what the driver's name of the card contains, the first fits.
PEAKS = {"H200": 989e12, "H100 PCIe": 756e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "A10G": 70e12}


def flops_per_token(parameters: int, trained: int, layers: int, hidden: int, context: float) -> float:
    """Forward and backward arithmetic for a token, recomputation not counted (Chowdhery et al., 2022, appendix B).

    Args:
        parameters: of the model, adapters included.
        trained: those with a gradient; frozen weights need none of their own (2 of 6 FLOPs).
        layers, hidden: of the model.
        context: mean number of tokens that a token attends to within its block, ``seq_len`` where not packed.
    """
    return 4.0 * parameters + 2.0 * trained + 12.0 * layers * hidden * context


def mfu(tokens_per_second: float, flops: float, device: str) -> float | None:
    """Share of one GPU's dense bf16 peak; None for a device whose peak is not listed.

    Args:
        tokens_per_second: of one GPU.
        flops: from :func:`flops_per_token`.
        device: name of the card.
    """
    peak = next((value for name, value in PEAKS.items() if name in device), None)
    return tokens_per_second * flops / peak if peak else None


class Meters:
    """Figures of one worker.

    Args:
        model: inside the engine.
        config: the training section.
        device: of this worker.
        world_size: workers in all.
    """

    def __init__(self, model: Any, config: TrainingConfig, device: Any, world_size: int) -> None:
        import torch

        self._device, self._world_size = device, world_size
        self._name = torch.cuda.get_device_name(device) if config.use_gpu else "CPU"
        counts = [(getattr(p, "ds_numel", p.numel()), p.requires_grad) for p in model.parameters()]  # ZeRO 3 has shards
        self._trained = sum(n for n, learns in counts if learns)
        sizes = getattr(model.config, "num_hidden_layers", 0), getattr(model.config, "hidden_size", 0)
        # Over whole blocks, though packed documents attend to less; half of them on average, being causal.
        self._flops = flops_per_token(sum(n for n, _ in counts), self._trained, *sizes, config.seq_len / 2)

    def sizes(self) -> dict[str, Any]:
        """What the model's manifest tells: trainable_parameters, world_size, device."""
        return {"trainable_parameters": self._trained, "world_size": self._world_size, "device": self._name}

    def of_step(self, tokens: int, seconds: float, waited: float) -> dict[str, Any]:
        """Of one optimizer step.

        Args:
            tokens: real ones, over all workers.
            seconds: that it took, waiting included.
            waited: seconds until its blocks were there.
        """
        used = mfu(tokens / seconds / self._world_size, self._flops, self._name)
        return {
            "step_seconds": seconds,
            "tokens_per_second": tokens / seconds,
            "data_wait_share": waited / seconds,
            "memory_bytes": used_bytes(self._device),
            "time_ms": int(1000 * time.time()),
            **({} if used is None else {"mfu": used}),
        }


def used_bytes(device: Any) -> int:
    """Peak memory of this worker so far: of the allocator on a GPU, else the resident memory of the process now."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    with open("/proc/self/statm") as stat:
        return int(stat.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
