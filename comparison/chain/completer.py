"""Prompts and their completions: one model per instance, the same for Spark's pandas UDF and for Ray's actors."""

import pyarrow as pa
import pyarrow.parquet as pq

from comparison.chain.dying import die_once
from comparison.chain.settings import OPENING_WORDS, Chain
from inference.engines.sampling import row_seed


def prompts_of(chain: Chain, files: list[str]) -> pa.Table:
    """The openings of the first rows in order: columns id and prompt."""
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
    return pa.table({"id": ids[: chain.prompts], "prompt": openings})


class Completer:
    """Completes batches of prompts; loads the model when it is made.

    Args:
        chain: the settings; ``chain.tuned`` is there.
    """

    def __init__(self, chain: Chain) -> None:
        from inference.engines.load import load_engine

        self._chain, self._tokenizer = chain, chain.tokenizer
        self._engine = load_engine(chain.inference, str(chain.tuned), self._tokenizer)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Columns id and completion for a table of ``id`` and ``prompt``."""
        die_once(self._chain.mark("predict"))
        names, prompts = batch["id"].to_pylist(), self._tokenizer.prompts(batch["prompt"].to_pylist())
        texts = [""] * len(names)
        for group in self._engine.batches([len(ids) for ids in prompts]):
            seeds = [row_seed(self._chain.inference.seed, names[n]) for n in group]
            for n, (answer,) in zip(group, self._engine.generate([prompts[n] for n in group], seeds), strict=True):
                texts[n] = self._tokenizer.completion(prompts[n], answer.token_ids)
        return pa.table({"id": names, "completion": texts})
