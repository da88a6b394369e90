"""Answers with Hugging Face transformers, in batches of a token budget."""

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from engines.likelihood import token_logprobs
from inference.engines.base import Answer
from inference.engines.batching import by_budget, shared_prefix
from inference.engines.decoding import Decoding, Writing, plain_attention
from inference.engines.onednn import to_onednn
from inference.engines.sampling import Sampler, sample_seeds

if TYPE_CHECKING:  # they need pydantic and pyarrow, which a machine that measures a GPU alone may lack
    from handoff.tokenizer import ModelTokenizer
    from inference.config import InferenceConfig

SHORTEST_PREFIX = 16  # tokens in common that are worth a forward pass of their own
LOGITS = 2**27  # of one forward pass when scoring: 0.5 GB in fp32, a few times that in passing
TAIL_TOKENS = 4  # decoded beside a stop string's length, for characters that several tokens make up


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
        self._agree = agree if split else None
        # The model's own sampling defaults (temperature, penalties) must not mix with the configured ones.
        self.model.generation_config = GenerationConfig(
            max_new_tokens=config.max_new_tokens,
            do_sample=False,
            pad_token_id=tokenizer.end_id,
            eos_token_id=list(tokenizer.stop_ids),
        )
        # With position ids from the mask, padding may stand between a prefix and the rest; models without them count it.
        self._takes_positions = "position_ids" in inspect.signature(self.model.forward).parameters

    def batches(self, lengths: Sequence[int]) -> list[list[int]]:
        """Rows of like length, as many as ``batch_tokens`` holds."""
        each = self._sampling.n
        return by_budget(lengths, self._sampling.max_new_tokens, self._budget // each)

    def generate(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int]) -> list[list[Answer]]:
        """One batch; padding is masked and takes no position."""
        import torch

        how = self._sampling
        repeated = [prompt for prompt in prompts for _ in range(how.n)]
        rows = [Writing(self._tokenizer.stop_ids, self._stop_test(prompt)) for prompt in repeated]
        every = [seed for own in seeds for seed in sample_seeds(own, how.n)]
        with torch.inference_mode():
            shared, cache = self._prefix(repeated)
            tokens, mask = self.padded(repeated, shared)
            self.model.generate(
                input_ids=tokens,
                attention_mask=mask,
                past_key_values=cache,
                custom_generate=Decoding(
                    rows, how, Sampler(how.temperature, how.top_p, every, self.device), self._agree
                ),
            )
        answers = [row.answer(how.logprobs) for row in rows]
        return [answers[first : first + how.n] for first in range(0, len(answers), how.n)]

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

    def _prefix(self, prompts: Sequence[Sequence[int]]) -> tuple[int, Any]:
        """How many first tokens are computed once for all prompts, and the cache of them; 0 and None for none."""
        import torch

        shared = shared_prefix(prompts) if self._takes_positions and len(prompts) > 1 else 0
        if shared < SHORTEST_PREFIX:
            return 0, None
        ids = torch.tensor([prompts[0][:shared]], device=self.device)
        cache = self.model(input_ids=ids, use_cache=True).get("past_key_values")
        if not plain_attention(cache):
            self._takes_positions = False
            return 0, None
        cache.batch_repeat_interleave(len(prompts))
        return shared, cache

    def _stop_test(self, prompt: Sequence[int]) -> Callable[[list[int]], bool] | None:
        """Whether an answer has just completed a stop string; None where there are none."""
        stop = self._sampling.stop
        if not stop:
            return None
        last = max(map(len, stop)) + TAIL_TOKENS  # a token has a character or more, or is a part of one
        return lambda ids: any(text in self._tokenizer.completion(prompt[-1:], ids[-last:]) for text in stop)

    def score(self, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]) -> list[list[float]]:
        """As many rows at a time as their logits leave room for."""
        whole = [[*prompt, *completion] for prompt, completion in zip(prompts, completions, strict=True)]
        scores: list[list[float]] = [[] for _ in whole]
        for rows in by_budget([len(ids) for ids in whole], 0, LOGITS // self.model.config.get_text_config().vocab_size):
            given = [len(prompts[i]) for i in rows]
            found = token_logprobs(self.model, [whole[i] for i in rows], self._tokenizer.end_id, given)
            for i, values in zip(rows, found, strict=True):
                scores[i] = values
        return scores

    def close(self) -> None:
        self.model = None


def agree(tokens: Any) -> Any:
    """The first rank's tokens, on all ranks: their logits may differ in the last bit."""
    import torch.distributed as dist

    dist.broadcast(tokens, 0)
    return tokens
