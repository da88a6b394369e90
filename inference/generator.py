"""The model stage: an actor that loads the model once and answers batch after batch."""

import time
from typing import Any

import pyarrow as pa

from handoff.tokenizer import ModelTokenizer
from inference.config import InferenceConfig
from inference.engines.load import load_engine
from inference.engines.sampling import row_seed
from inference.text_stages import ModelReference


class Generator:
    """Completes batches of tokenised prompts; one instance per actor.

    Args:
        model: the model artifact.
        tokenizer: says which tokens end a completion.
        config: lengths, sampling, device.
        counter: handle of the ``progress.Counter`` actor; None to count nothing.
    """

    def __init__(
        self, model: ModelReference, tokenizer: ModelTokenizer, config: InferenceConfig, counter: Any = None
    ) -> None:
        self._config, self._counter = config, counter
        self._engine = load_engine(config, model.directory(), tokenizer)

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
        for group in self._engine.batches([len(prompts[i]) for i in good]):
            rows = [good[place] for place in group]
            seeds = [row_seed(self._config.seed, names[i]) for i in rows]
            for i, answers in zip(rows, self._engine.generate([prompts[i] for i in rows], seeds), strict=True):
                completions[i] = answers[0].token_ids
        if self._counter is not None:
            self._counter.add.remote(len(prompts), sum(len(c or ()) for c in completions))
        seconds = [time.monotonic() - start] * len(prompts)
        return batch.append_column("completion_ids", pa.array(completions, pa.list_(pa.int32()))).append_column(
            "seconds", pa.array(seconds, pa.float64())
        )
