"""The model stage with rows that raise or kill: the real engine, and faults by the ids of rows."""

import os
import signal
from collections.abc import Sequence
from typing import Any

from engines.alone import Limits
from inference.engines.sampling import row_seed
from inference.generator import Generator

RAISE = ("p7", "p8", "p33")
KILL = ("p21",)
POISON = "~"  # in completions that are scored: a token of its own, which the verses do not have


class Faulty:
    """An engine that fails on batches with certain rows, which it knows by their seeds, and when scoring by a token."""

    def __init__(self, engine: Any, raising: Sequence[int], killing: Sequence[int], poison: int = -1) -> None:
        self._poison = poison
        self._engine, self._raising, self._killing = engine, set(raising), set(killing)
        self.limits: Limits = engine.limits

    def batches(self, lengths: Sequence[int], limits: Limits | None = None) -> list[list[int]]:
        made: list[list[int]] = self._engine.batches(lengths, limits)
        return made

    def generate(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int]) -> Any:
        if self._killing & set(seeds):
            os.kill(os.getpid(), signal.SIGKILL)
        if self._raising & set(seeds):
            raise IndexError("token 999 is not in the vocabulary")
        return self._engine.generate(prompts, seeds)

    def score(self, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]) -> Any:
        if any(self._poison in ids for ids in completions):
            raise IndexError("token 999 is not in the vocabulary")
        return self._engine.score(prompts, completions)


class Raising(Generator):
    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        ((poison,),) = given["tokenizer"].prompts([POISON])
        seeds = [row_seed(given["config"].seed, name) for name in RAISE]
        self._engine: Any = Faulty(self._engine, seeds, [], poison)


class Killing(Generator):
    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        seed = given["config"].seed
        raising, killing = ([row_seed(seed, name) for name in names] for names in (RAISE, KILL))
        self._engine: Any = Faulty(self._engine, raising, killing)
