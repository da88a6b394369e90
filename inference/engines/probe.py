"""Tries on a loaded model what the transformers engine does with batches: a row must come out as it does alone.

The rows go through the engine's own loop, with given tokens in place of chosen ones, so that the logits of each step can be
compared. First all tricks at once; one after another only where that fails.
"""

import inspect
from collections.abc import Sequence
from typing import Any, Protocol, get_args

from engines.alone import STEPS, Limits, Trick, over_lengths, rows_of, same
from handoff.causes import safe_text
from inference.engines.base import Sampling
from inference.engines.decoding import Chooser, Writing

BATCHING: tuple[Trick, ...] = ("together", "padding", "leaving", "prefix")
Logits = list[list[Any]]  # [vocabulary] of each step of each row


class Tried(Protocol):
    """What the probe needs of the engine."""

    model: Any
    agree: Any
    shares_prefixes: bool

    def decode(
        self, prompts: Sequence[Sequence[int]], rows: list[Writing], sampler: Chooser, how: Sampling, limits: Limits,
        shortest: int, looks: int,
    ) -> None: ...  # fmt: skip


class Forced:
    """Gives each row its own tokens, in place of a sampler, and keeps the logits that it is shown."""

    def __init__(self, tokens: Sequence[Sequence[int]]) -> None:
        self._tokens, self._live = tokens, list(range(len(tokens)))
        self.logits: Logits = [[] for _ in tokens]

    def __call__(self, logits: Any) -> Any:
        import torch

        step = len(self.logits[self._live[0]])
        for row, values in zip(self._live, logits, strict=True):
            self.logits[row].append(values)
        return torch.tensor([self._tokens[row][step] for row in self._live], device=logits.device)

    def keep(self, rows: Sequence[int]) -> None:
        self._live = [self._live[row] for row in rows]


def generating_limits(engine: Tried, longest: int) -> Limits:
    """What of the engine's tricks does not hold for its model.

    A model that fails on a row alone gets its rows one by one: each will say what is wrong.

    Args:
        engine: with its model loaded.
        longest: tokens of the longest prompt and answer together that can come.
    """
    probe = _Probe(engine)
    try:
        return over_lengths(engine.model, longest, probe.try_rows, BATCHING)
    except _FailsAlone as failure:
        return Limits().limited(BATCHING, 0, str(failure))


class _FailsAlone(Exception):
    """The model raises on a row alone, or its logits are no numbers."""

    def __init__(self, error: Exception | None = None) -> None:
        reason = "its logits are not numbers" if error is None else f"{type(error).__name__}: {safe_text(error, 200)}"
        super().__init__(f"the model fails on a row alone ({reason.splitlines()[0]})")


class _Probe:
    def __init__(self, engine: Tried) -> None:
        self._engine = engine
        takes = inspect.signature(engine.model.forward).parameters
        self._last = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}  # of a long row the others fill memory

    def try_rows(self, lengths: Sequence[int], limits: Limits, upto: int) -> Limits:
        """Limits with those tricks used ``upto`` a length only that fail on rows of these lengths."""
        use: set[Trick] = {trick for trick in get_args(Trick) if limits.allow(trick, max(lengths))}
        rows = rows_of(self._engine.model.config, lengths)
        last, plain = rows[-1:], [self._plain(rows[-1])]
        if "cache" in use and not self._holds(last, {"cache"}, plain) and self._holds(last, set(), plain):
            limits = limits.limited(["cache", "prefix"], upto, "with its cache the model gives other logits")
            use -= {"cache", "prefix"}
        if "together" not in use:
            return limits
        expected = self._alone(rows, use)
        if not self._holds(rows, use - {"prefix"}, expected):
            twins = rows_of(self._engine.model.config, [max(lengths)] * 3)
            twins_alone = self._alone(twins, use)
            if not self._holds(twins, use & {"cache", "together"}, twins_alone):
                return limits.limited(BATCHING, upto, "a row in a batch comes out otherwise than alone")
            if not self._holds(rows, use & {"cache", "together", "padding"}, expected):
                limits = limits.limited(["padding"], upto, "a row that is padded comes out otherwise than alone")
                rows, expected = twins, twins_alone
            if not self._holds(rows, use - {"prefix"}, expected):
                limits = limits.limited(["leaving"], upto, "rows come out otherwise when another has left")
        if "prefix" in use and self._engine.shares_prefixes and not self._holds(rows, use - {"leaving"}, expected):
            limits = limits.limited(
                ["prefix"], upto, "rows come out otherwise when their first tokens are computed once"
            )
        return limits

    def _alone(self, rows: Sequence[list[int]], use: set[Trick]) -> Logits:
        """Logits of each row by itself, with the cache where it may be used."""
        try:
            found = [self._run([row], use & {"cache"})[0] for row in rows]
        except Exception as error:  # whatever a model's code says of a row
            raise _FailsAlone(error) from error
        if any(bool(step.isnan().any()) for steps in found for step in steps):
            raise _FailsAlone()
        return found

    def _plain(self, row: list[int]) -> list[Any]:
        """Logits of each step from the model called with nothing but the tokens so far."""
        import torch

        ids = torch.tensor([row], device=self._engine.model.device)
        try:
            with torch.inference_mode():
                steps = range(len(row) - STEPS, len(row))
                return [self._engine.model(input_ids=ids[:, :end], **self._last).logits[0, -1].float() for end in steps]
        except Exception as error:
            raise _FailsAlone(error) from error

    def _holds(self, rows: Sequence[list[int]], use: set[Trick], expected: Logits) -> bool:
        """Whether rows that are computed together, with these tricks, have the expected logits."""
        import torch

        try:
            found = self._run(rows, use)
            dtype = str(self._engine.model.dtype).removeprefix("torch.")
            good = all(same(one, other[: len(one)], dtype) for one, other in zip(found, expected, strict=True))
        except torch.OutOfMemoryError:
            raise
        except Exception:  # a model that cannot do it
            good = False
        if self._engine.agree is not None:  # all ranks go on with the same tricks
            good = bool(self._engine.agree(torch.tensor(good, device=self._engine.model.device)))
        return good

    def _run(self, rows: Sequence[list[int]], use: set[Trick]) -> Logits:
        """Logits of the last ``STEPS`` tokens of rows, after the others as prompts; with ``leaving``, the first row leaves
        after one step.
        """
        prompts, tokens = [row[:-STEPS] for row in rows], [row[-STEPS:] for row in rows]
        writing = [Writing((), None) for _ in rows]
        if "leaving" in use and len(rows) > 1:
            writing[0] = Writing(tokens[0][:1], None)
        forced = Forced(tokens)
        how = Sampling(max_new_tokens=STEPS, temperature=0, top_p=1)
        limits = Limits().limited([trick for trick in get_args(Trick) if trick not in use], 0, "")
        self._engine.decode(prompts, writing, forced, how, limits, 1, 1)
        return forced.logits
