"""Prompts and their completions: one model per instance, the same for Spark's pandas UDF and for Ray's actors."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from comparison.chain.dying import die_once
from comparison.chain.settings import OPENING_WORDS, Chain
from inference.text_stages import ModelReference, finish, render, render_arguments


@dataclass(frozen=True)
class LocalModel(ModelReference):
    """A model that is a directory of this machine."""

    def directory(self) -> str:
        return self.id


def prompts_of(chain: Chain, files: list[str]) -> pa.Table:
    """The openings of the first rows in order: columns id, prompt, source."""
    ids: list[str] = []
    texts: list[str] = []
    for file in files:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(chain.prompts, columns=["row_id", "text"]):
                ids += batch["row_id"].to_pylist()
                texts += batch["text"].to_pylist()
                if len(ids) >= chain.prompts:
                    break
        if len(ids) >= chain.prompts:
            break
    openings = [" ".join(text.split()[:OPENING_WORDS]) for text in texts[: chain.prompts]]
    return pa.table({"id": ids[: chain.prompts], "prompt": openings, "source": ["rows"] * len(openings)})


class Completer:
    """Completes batches of prompts; loads the model when it is made.

    Args:
        chain: the settings; ``chain.tuned`` is there.
    """

    def __init__(self, chain: Chain) -> None:
        from inference.generator import Generator

        self._chain, self._tokenizer = chain, chain.tokenizer
        self._render = render_arguments(self._tokenizer, chain.inference, None)
        self._generator: Any = Generator(LocalModel("", str(chain.tuned)), self._tokenizer, chain.inference)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Rows of ``handoff.schema.PREDICTIONS`` for a table of ``id``, ``prompt`` and ``source``."""
        die_once(self._chain.mark("predict"))
        return finish(self._generator(render(batch, **self._render)), self._tokenizer, {})
