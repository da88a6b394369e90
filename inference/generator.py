"""The model stage: an actor that loads the model once and completes batch after batch."""

import time
from typing import Any, cast

import pyarrow as pa

from handoff.tokenizer import ModelTokenizer
from inference.config import InferenceConfig
from inference.sampling import logits_processors, row_seed
from inference.text_stages import ModelReference


class Generator:
    """Completes batches of tokenised prompts; one instance per actor.

    Weights are bf16 on a GPU and fp32 on CPU, where bf16 is emulated and slower.

    Args:
        model: the model artifact.
        tokenizer: says which tokens end a completion.
        config: lengths, sampling, device.
        counter: handle of the ``progress.Counter`` actor; None to count nothing.
    """

    def __init__(
        self, model: ModelReference, tokenizer: ModelTokenizer, config: InferenceConfig, counter: Any = None
    ) -> None:
        import torch
        from transformers import AutoModelForCausalLM, GenerationConfig
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        torch.set_num_threads(max(1, int(config.cpus_per_actor)))
        self._config, self._counter = config, counter
        self._device = torch.device("cuda" if config.use_gpu else "cpu")
        dtype = torch.bfloat16 if config.use_gpu else torch.float32
        loaded = AutoModelForCausalLM.from_pretrained(model.directory(), dtype=dtype)
        self._model = cast(Any, loaded).to(self._device).eval()
        self._tokenizer = tokenizer
        # The model's own sampling defaults (temperature, penalties) must not mix with the configured ones.
        self._model.generation_config = GenerationConfig(
            max_new_tokens=config.max_new_tokens,
            do_sample=False,
            pad_token_id=tokenizer.end_id,
            eos_token_id=list(tokenizer.stop_ids),
        )

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Add ``completion_ids`` (list of int32, without the end token; null with an error) and ``seconds`` (float64).

        ``seconds`` is the wall time of the whole batch. Rows whose ``prompt_ids`` is null pass through.
        """
        start = time.monotonic()
        if self._counter is not None:
            self._counter.begin.remote()
        prompts, names = batch["prompt_ids"].to_pylist(), batch["id"].to_pylist()
        good = [i for i, ids in enumerate(prompts) if ids is not None]
        completions: list[list[int] | None] = [None] * len(prompts)
        if good:
            for i, ids in zip(good, self._complete([prompts[i] for i in good], [names[i] for i in good]), strict=True):
                completions[i] = ids
        if self._counter is not None:
            self._counter.add.remote(len(prompts), sum(len(c or ()) for c in completions))
        seconds = [time.monotonic() - start] * len(prompts)
        return batch.append_column("completion_ids", pa.array(completions, pa.list_(pa.int32()))).append_column(
            "seconds", pa.array(seconds, pa.float64())
        )

    def _complete(self, prompts: list[list[int]], names: list[str]) -> list[list[int]]:
        """New tokens of each prompt up to its end token. Padding is on the left, masked, and takes no position."""
        import torch

        width = max(len(p) for p in prompts)
        tokens = torch.full(
            (len(prompts), width), self._tokenizer.end_id, dtype=torch.long
        )  # masked out: any token will do
        mask = torch.zeros_like(tokens)
        for row, ids in enumerate(prompts):
            tokens[row, width - len(ids) :] = torch.tensor(ids)
            mask[row, width - len(ids) :] = 1
        config = self._config
        seeds = [row_seed(config.seed, name) for name in names]
        with torch.inference_mode():
            made = self._model.generate(
                input_ids=tokens.to(self._device),
                attention_mask=mask.to(self._device),
                logits_processor=logits_processors(config.temperature, config.top_p, seeds, self._device),
            )
        return [self._tokenizer.until_stop(row) for row in made[:, width:].tolist()]
