"""Seeded sampling whose text depends on the prompt alone, not on what else is in the batch or which actor has it."""

import hashlib
from collections.abc import Sequence
from typing import Any


def row_seed(seed: int, identity: str) -> int:
    """Seed of one prompt's generator, 63 bits of SHA-256 over the configured seed and the prompt's id."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{identity}".encode()).digest()[:8], "big") >> 1


def sample_seeds(seed: int, n: int) -> list[int]:
    """Seeds of the ``n`` samples of one prompt; the first is the prompt's own."""
    return [seed, *(row_seed(seed, str(number)) for number in range(1, n))]


class GumbelMax:
    """Turns the greedy choice into a sample: argmax(logits + Gumbel noise).

    The Gumbel-max trick (Gumbel 1954; Maddison, Tarlow & Minka, "A* Sampling", NeurIPS 2014): with g_i independent
    standard Gumbel, argmax_i(logit_i + g_i) is distributed as softmax(logits). Here g = -log(e), e exponential.
    Every row draws from a generator of its own, so its noise at step t is fixed by seed, prompt id and t. What is
    left of the batch is the rounding of the logits, which changes a text only where two candidates tie within it:
    about 1e-6 of their size in fp32, 1e-2 in bf16.

    Args:
        seeds: one per row of the batch, in its order.
        device: where the logits are; generators of CPU and GPU give different streams.
    """

    def __init__(self, seeds: Sequence[int], device: Any) -> None:
        import torch

        self._generators = [torch.Generator(device=device).manual_seed(seed) for seed in seeds]

    def __call__(self, scores: Any) -> Any:
        """Add noise to ``scores`` [rows, vocabulary]; tokens at -inf stay there. Returns float32."""
        import torch

        noise = torch.empty(scores.shape, dtype=torch.float32, device=scores.device)
        for row, generator in zip(noise, self._generators, strict=True):
            row.exponential_(generator=generator)
        return scores.float() - noise.log_()

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows of the batch alone."""
        self._generators = [self._generators[row] for row in rows]


class Sampler:
    """Chooses the next token of each row: temperature, then the nucleus (Holtzman et al. 2020), then noise.

    At temperature 0 the choice is greedy.
    """

    def __init__(self, temperature: float, top_p: float, seeds: Sequence[int], device: Any) -> None:
        from transformers import TemperatureLogitsWarper, TopPLogitsWarper

        self._noise = GumbelMax(seeds, device) if temperature else None
        self._steps: list[Any] = [TemperatureLogitsWarper(float(temperature))] if temperature else []
        self._steps += [TopPLogitsWarper(top_p)] if temperature and top_p < 1 else []

    def __call__(self, logits: Any) -> Any:
        """Token ids [rows] from ``logits`` [rows, vocabulary]."""
        for step in self._steps:
            logits = step(None, logits)
        return (self._noise(logits) if self._noise else logits).argmax(-1)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows of the batch alone."""
        if self._noise:
            self._noise.keep(rows)
