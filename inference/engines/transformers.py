"""Answers with Hugging Face transformers, in batches of a token budget."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from engines.alone import Limits
from engines.batching import by_budget, shared_prefix
from engines.likelihood import forget_growth, scoring_limits, token_logprobs
from handoff.model_json import read_settings
from handoff.positions import positions_of
from inference.engines.base import Answer, Sampling
from inference.engines.decoding import STEPS_BETWEEN_LOOKS, Chooser, Decoding, Writing, plain_attention
from inference.engines.onednn import to_onednn
from inference.engines.probe import generating_limits
from inference.engines.sampling import Sampler, sample_seeds

if TYPE_CHECKING:  # they need pydantic and pyarrow, which a machine that measures a GPU alone may lack
    from handoff.tokenizer import ModelTokenizer
    from inference.config import InferenceConfig

SHORTEST_PREFIX = 16  # tokens in common that are worth a forward pass of their own
TAIL_TOKENS = 4  # decoded beside a stop string's own, which may begin within a token


class TransformersEngine:
    """A model in this process, or with ``tensor_parallel`` this rank's part of it."""

    def __init__(self, config: "InferenceConfig", model_dir: str, tokenizer: "ModelTokenizer") -> None:
        import torch
        from transformers import AutoModelForCausalLM, GenerationConfig
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        torch.set_num_threads(max(1, int(config.cpus_per_actor / config.tensor_parallel)))
        self._sampling, self._tokenizer, self._budget = config.sampling, tokenizer, config.batch_tokens
        self.device = torch.device("cuda" if config.use_gpu else "cpu")
        dtype = getattr(torch, config.weights_dtype)
        split = config.tensor_parallel > 1
        options: dict[str, Any] = {"dtype": dtype}
        if split:
            from transformers.distributed import DistributedConfig

            options["distributed_config"] = DistributedConfig(tp_size=config.tensor_parallel)

        def load() -> Any:
            loaded = cast(Any, AutoModelForCausalLM.from_pretrained(model_dir, **options)).eval()
            return loaded if split else loaded.to(self.device)

        self.model = load()
        if config.through_onednn and not to_onednn(self.model):
            self.model = load()
        self.agree = agree if split else None
        # The model's own sampling defaults (temperature, penalties) must not mix with the configured ones.
        self.model.generation_config = GenerationConfig(
            max_new_tokens=config.max_new_tokens,
            do_sample=False,
            pad_token_id=tokenizer.end_id,
            eos_token_id=list(tokenizer.stop_ids),
        )
        # With position ids from the mask, padding may stand between a prefix and the rest; models without them count it.
        self.shares_prefixes = "position_ids" in inspect.signature(self.model.forward).parameters
        longest = config.max_prompt_tokens + config.max_new_tokens
        positions = positions_of(read_settings(Path(model_dir, "config.json"))) or longest
        if config.task == "score":
            self.limits = scoring_limits(self.model, tokenizer.end_id, min(longest, positions))
        else:
            self.limits = generating_limits(self, min(longest, positions))

    def batches(self, lengths: Sequence[int], limits: Limits | None = None) -> list[list[int]]:
        """Rows of like length that may be answered together, as many as ``batch_tokens`` holds."""
        how = self._sampling
        return by_budget(lengths, how.max_new_tokens, self._budget // how.n, limits or self.limits)

    def generate(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int]) -> list[list[Answer]]:
        """One batch, in as many pieces as the model needs for each row to come out as it does alone."""
        how = self._sampling
        repeated = [prompt for prompt in prompts for _ in range(how.n)]
        rows = [Writing(self._tokenizer.stop_ids, self._stop_test(prompt)) for prompt in repeated]
        every = [seed for own in seeds for seed in sample_seeds(own, how.n)]
        for part in self.limits.parts([len(prompt) + how.max_new_tokens for prompt in repeated]):
            sampler = Sampler(how.temperature, how.top_p, [every[n] for n in part], self.device)
            self.decode([repeated[n] for n in part], [rows[n] for n in part], sampler, how, self.limits)
        answers = [row.answer(how.logprobs) for row in rows]
        return [answers[first : first + how.n] for first in range(0, len(answers), how.n)]

    def decode(
        self,
        prompts: Sequence[Sequence[int]],
        rows: list[Writing],
        sampler: Chooser,
        how: Sampling,
        limits: Limits,
        shortest: int = SHORTEST_PREFIX,
        looks: int = STEPS_BETWEEN_LOOKS,
    ) -> None:
        """Write the answers of rows together; padding is masked and takes no position.

        Args:
            prompts: token ids.
            rows: the answers, filled in place.
            sampler: chooses tokens.
            how: lengths, and whether log-probabilities are asked for.
            limits: what may be done with rows of these lengths; here, anything but padding.
            shortest: first tokens in common that are computed once.
            looks: steps between looks at the tokens on a GPU.
        """
        import torch

        tokens = max(map(len, prompts)) + how.max_new_tokens
        leaving = limits.allow("leaving", tokens)
        forget_growth(self.model)
        with torch.inference_mode():
            shared, cache = self._prefix(prompts, shortest) if limits.allow("prefix", tokens) else (0, None)
            ids, mask = self.padded(prompts, shared)
            self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                past_key_values=cache,
                use_cache=limits.allow("cache", tokens),
                custom_generate=Decoding(rows, how, sampler, self.agree, shared, leaving, looks),
            )

    def padded(self, prompts: Sequence[Sequence[int]], shared: int) -> tuple[Any, Any]:
        """Token ids and mask [rows, tokens]: the shared tokens, padding, the rest of each prompt."""
        import torch

        width = max(map(len, prompts))
        tokens = torch.full((len(prompts), width), self._tokenizer.end_id)  # masked out: any token will do
        mask = torch.zeros_like(tokens)
        mask[:, :shared] = 1
        for row, ids in enumerate(prompts):
            tokens[row, :shared] = torch.tensor(ids[:shared], dtype=torch.long)
            tokens[row, width - len(ids) + shared :] = torch.tensor(ids[shared:])
            mask[row, width - len(ids) + shared :] = 1
        return tokens.to(self.device), mask.to(self.device)

    def _prefix(self, prompts: Sequence[Sequence[int]], shortest: int) -> tuple[int, Any]:
        """How many first tokens are computed once for all prompts, and the cache of them; 0 and None for none."""
        import torch

        shared = shared_prefix(prompts) if self.shares_prefixes and len(prompts) > 1 else 0
        if shared < shortest:
            return 0, None
        ids = torch.tensor([prompts[0][:shared]], device=self.device)
        cache = self.model(input_ids=ids, use_cache=True).get("past_key_values")
        if not plain_attention(cache):
            self.shares_prefixes = False
            return 0, None
        cache.batch_repeat_interleave(len(prompts))
        return shared, cache

    def _stop_test(self, prompt: Sequence[int]) -> Callable[[list[int]], bool] | None:
        """Whether an answer has just completed a stop string; None where there are none."""
        stop = self._sampling.stop
        if not stop:
            return None
        bytes_of_longest = max(len(text.encode()) for text in stop)
        return lambda ids: any(text in self._tail(prompt, ids, bytes_of_longest) for text in stop)

    def _tail(self, prompt: Sequence[int], ids: list[int], most_bytes: int) -> str:
        """The end of an answer's text, of ``most_bytes`` bytes or more: a token is a byte or more, but for those
        that stand for nothing.
        """
        last = most_bytes + TAIL_TOKENS
        while len((text := self._tokenizer.completion(prompt[-1:], ids[-last:])).encode()) < most_bytes:
            if last >= len(ids):
                break
            last *= 2
        return text

    def score(self, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]) -> list[list[float]]:
        """As many rows at a time as their logits leave room for."""
        whole = [[*prompt, *completion] for prompt, completion in zip(prompts, completions, strict=True)]
        return token_logprobs(self.model, whole, self._tokenizer.end_id, [len(p) for p in prompts], self.limits)

    def close(self) -> None:
        self.model = None


def agree(tokens: Any) -> Any:
    """The first rank's tokens, on all ranks: their logits may differ in the last bit."""
    import torch.distributed as dist

    dist.broadcast(tokens, 0)
    return tokens
