"""The interface of an inference engine: token ids in, token ids out. It knows no rows, no files and no Ray."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from engines.alone import Limits


@dataclass(frozen=True)
class Sampling:
    """How answers are chosen.

    Attributes:
        max_new_tokens: longest answer.
        temperature: 0 is greedy.
        top_p: probability mass to sample from.
        n: answers to each prompt.
        stop: texts that end an answer.
        logprobs: whether answers come with the log-probability of each token.
    """

    max_new_tokens: int
    temperature: float
    top_p: float
    n: int = 1
    stop: tuple[str, ...] = ()
    logprobs: bool = False


@dataclass(frozen=True)
class Answer:
    """One answer to a prompt.

    Attributes:
        token_ids: up to the token that ends a text, without it. Where a stop string ended the answer, the tokens that
            complete it are the last ones: :func:`before_stop` cuts the text.
        finish_reason: ``stop`` (an end token or a stop string), or ``length``; None where the tokens were given.
        logprobs: natural log-probability of each token under the model, before temperature and top-p; None if not asked.
    """

    token_ids: list[int]
    finish_reason: Literal["stop", "length"] | None
    logprobs: list[float] | None = None


class Engine(Protocol):
    """A loaded model.

    Attributes:
        limits: what the engine does not do with this model, as its rows would come out otherwise than alone.
    """

    limits: Limits

    def batches(self, lengths: Sequence[int], limits: Limits | None = None) -> list[list[int]]:
        """Which rows of a window to answer together: indexes into ``lengths``, each once.

        Args:
            lengths: tokens of each prompt.
            limits: in place of the model's own.
        """
        ...

    def generate(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int]) -> list[list[Answer]]:
        """Answer one batch: ``Sampling.n`` answers to each prompt, in the order of the prompts.

        Args:
            prompts: token ids, at least one each.
            seeds: of each prompt's random numbers. An answer follows from model, prompt and seed, not from the batch.
        """
        ...

    def score(self, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]) -> list[list[float]]:
        """Log-likelihood (natural) of each token of each completion after its prompt.

        Args:
            prompts: token ids, at least one each.
            completions: token ids; of an empty one there are no scores.
        """
        ...

    def close(self) -> None:
        """Free memory and end processes."""
        ...


def before_stop(text: str, stop: Sequence[str]) -> str:
    """The text before the first stop string."""
    return text[: min((at for s in stop if (at := text.find(s)) >= 0), default=len(text))]
