"""Answers with Hugging Face transformers, in batches of a token budget."""

from collections.abc import Sequence
from typing import Any, cast

from handoff.tokenizer import ModelTokenizer
from inference.config import InferenceConfig
from inference.engines.base import Answer
from inference.engines.sampling import logits_processors


class TransformersEngine:
    """A model in this process. Weights are bf16 on a GPU and fp32 on CPU, where bf16 is emulated and slower."""

    def __init__(self, config: InferenceConfig, model_dir: str, tokenizer: ModelTokenizer) -> None:
        import torch
        from transformers import AutoModelForCausalLM, GenerationConfig
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        torch.set_num_threads(max(1, int(config.cpus_per_actor)))
        self._sampling, self._tokenizer = config.sampling, tokenizer
        self._device = torch.device("cuda" if config.use_gpu else "cpu")
        dtype = torch.bfloat16 if config.use_gpu else torch.float32
        self._model = cast(Any, AutoModelForCausalLM.from_pretrained(model_dir, dtype=dtype)).to(self._device).eval()
        # The model's own sampling defaults (temperature, penalties) must not mix with the configured ones.
        self._model.generation_config = GenerationConfig(
            max_new_tokens=config.max_new_tokens,
            do_sample=False,
            pad_token_id=tokenizer.end_id,
            eos_token_id=list(tokenizer.stop_ids),
        )

    def batches(self, lengths: Sequence[int]) -> list[list[int]]:
        """All rows in one batch."""
        return [list(range(len(lengths)))] if lengths else []

    def generate(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int]) -> list[list[Answer]]:
        """Padding is on the left, masked, and takes no position."""
        import torch

        width = max(map(len, prompts))
        tokens = torch.full((len(prompts), width), self._tokenizer.end_id)  # masked out: any token will do
        mask = torch.zeros_like(tokens)
        for row, ids in enumerate(prompts):
            tokens[row, width - len(ids) :] = torch.tensor(ids)
            mask[row, width - len(ids) :] = 1
        how = self._sampling
        with torch.inference_mode():
            made = self._model.generate(
                input_ids=tokens.to(self._device),
                attention_mask=mask.to(self._device),
                logits_processor=logits_processors(how.temperature, how.top_p, list(seeds), self._device),
            )
        return [[self._answer(row)] for row in made[:, width:].tolist()]

    def _answer(self, row: list[int]) -> Answer:
        ids = self._tokenizer.until_stop(row)
        return Answer(ids, "stop" if len(ids) < len(row) else "length")

    def score(self, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]) -> list[list[float]]:
        raise NotImplementedError

    def close(self) -> None:
        self._model = None
