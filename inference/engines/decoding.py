"""The decoding loop: one token per step for every row, rows that have ended leaving the batch."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

from inference.engines.base import Answer, Sampling

# Ended rows are taken out once they are this share of the batch: taking some out copies the cache of those that stay,
# which every step does once anyway, as transformers' dynamic cache grows by concatenation.
LEAVING_SHARE = 1 / 8
# On a GPU the host looks at the tokens every so many steps: each look waits for the device. An ended row makes at most
# that many tokens too many, which are cut off.
STEPS_BETWEEN_LOOKS = 8


class Chooser(Protocol):
    """Chooses the next token of each row."""

    def __call__(self, logits: Any) -> Any:
        """Token ids [rows] from ``logits`` [rows, vocabulary]."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows of the batch alone."""
        ...


class Writing:
    """An answer in the making."""

    def __init__(self, stop_ids: Sequence[int], ends: Callable[[list[int]], bool] | None) -> None:
        self.ids: list[int] = []
        self.logprobs: list[float] = []
        self.reason: Literal["stop", "length"] | None = None
        self._stop_ids, self._ends = stop_ids, ends

    def add(self, token: int, logprob: float | None, limit: int) -> None:
        """Take the next token, unless the answer has ended."""
        if self.reason is not None:
            return
        if token in self._stop_ids:
            self.reason = "stop"
            return
        self.ids.append(token)
        if logprob is not None:
            self.logprobs.append(logprob)
        if self._ends is not None and self._ends(self.ids):
            self.reason = "stop"
        elif len(self.ids) == limit:
            self.reason = "length"

    def answer(self, logprobs: bool) -> Answer:
        return Answer(self.ids, self.reason or "length", self.logprobs if logprobs else None)


class Decoding:
    """What ``generate(custom_generate=...)`` calls in place of its own loop, so that ended rows cost nothing.

    Args:
        rows: the answers, one per row of the batch; filled in place.
        sampling: lengths and whether log-probabilities are asked for.
        sampler: chooses tokens.
        agree: of models split over processes: makes all of them go on with the same tokens; None for one process.
        seen: first tokens of the inputs that the cache has already.
        leaving: whether ended rows leave the batch.
        looks: steps between looks at the tokens on a GPU.
    """

    def __init__(
        self,
        rows: list[Writing],
        sampling: Sampling,
        sampler: Chooser,
        agree: Callable[[Any], Any] | None = None,
        seen: int = 0,
        leaving: bool = True,
        looks: int = STEPS_BETWEEN_LOOKS,
    ) -> None:
        self._rows, self._how, self._sampler, self._agree = rows, sampling, sampler, agree
        self._seen, self._leaving, self._looks = seen, leaving, looks

    def __call__(
        self,
        model: Any,
        input_ids: Any,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        **model_kwargs: Any,
    ) -> Any:
        import torch

        live = self._rows  # of the tensors' rows
        looks = self._looks if input_ids.is_cuda else 1
        pending: list[tuple[Any, Any]] = []
        for step in range(self._how.max_new_tokens):
            new = self._length_of_new(input_ids, model_kwargs, step)
            inputs = model.prepare_inputs_for_generation(
                input_ids, next_sequence_length=new, is_first_iteration=step == 0, **model_kwargs
            )
            outputs = model(**inputs, return_dict=True)
            model_kwargs = model._update_model_kwargs_for_generation(outputs, model_kwargs)
            logits = outputs.logits[:, -1].float()
            del outputs
            tokens = self._sampler(logits)
            if self._agree is not None:
                tokens = self._agree(tokens)
            chances = logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0] if self._how.logprobs else None
            input_ids = torch.cat([input_ids, tokens[:, None]], 1)
            pending.append((tokens, chances))
            if len(pending) < looks and step + 1 < self._how.max_new_tokens:
                continue
            self._note(live, pending)
            pending = []
            going = [place for place, row in enumerate(live) if row.reason is None]
            if not going:
                break
            leave = self._leaving and len(live) - len(going) >= LEAVING_SHARE * len(live)
            if leave and can_select(model_kwargs):
                index = torch.tensor(going, device=input_ids.device)
                live, input_ids = [live[place] for place in going], input_ids[index]
                model_kwargs = select(model_kwargs, index)
                self._sampler.keep(going)
        return input_ids

    def _length_of_new(self, input_ids: Any, model_kwargs: dict[str, Any], step: int) -> int | None:
        """How many of the last tokens the model has not seen; None for all of them."""
        if step:
            return 1 if model_kwargs.get("use_cache", True) else None
        return int(input_ids.shape[1]) - self._seen

    def _note(self, live: list[Writing], pending: list[tuple[Any, Any]]) -> None:
        """Hand the tokens of some steps to their answers."""
        for tokens, chances in pending:
            logprobs = [None] * len(live) if chances is None else chances.tolist()
            for row, token, logprob in zip(live, tokens.tolist(), logprobs, strict=True):
                row.add(token, logprob, self._how.max_new_tokens)


def plain_attention(cache: Any) -> bool:
    """Whether a cache holds keys and values of all tokens and nothing else: no recurrent state, no window."""
    from transformers.cache_utils import DynamicCache, DynamicLayer

    return type(cache) is DynamicCache and all(type(layer) is DynamicLayer for layer in cache.layers)


def can_select(model_kwargs: dict[str, Any]) -> bool:
    """Whether rows can be taken out of what the model keeps between steps."""
    return plain_attention(model_kwargs.get("past_key_values"))


def select(model_kwargs: dict[str, Any], index: Any) -> dict[str, Any]:
    """The model's arguments for some rows of the batch."""
    import torch

    model_kwargs["past_key_values"].batch_select_indices(index)
    return {
        name: value[index] if torch.is_tensor(value) and value.dim() >= 2 else value
        for name, value in model_kwargs.items()
    }
