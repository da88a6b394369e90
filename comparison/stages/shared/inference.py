"""The model stage of ``embed`` and ``generate``: functions of texts that every engine calls, and the rows they get."""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from comparison.form import Work
from handoff.tokenizer import ModelTokenizer

BATCH = 32  # rows of a forward pass
EMBEDDED_TOKENS, PROMPT_TOKENS, NEW_TOKENS = 64, 16, 16


def one_in(table: pa.Table, share: int) -> pa.Table:
    """Rows of ``document_id`` and ``text`` whose id is a multiple of ``share``."""
    whole = pc.multiply(pc.divide(table["document_id"], share), share)
    return table.select(["document_id", "text"]).filter(pc.equal(whole, table["document_id"]))


class Model:
    """A causal language model in memory.

    Args:
        directory: Hugging Face directory.
        threads: of torch.
        exact: in fp64, where the greedy choice depends on no rounding: in fp32 a batch of another size flips a token
            in some 100,000, and outputs of two engines with it.
    """

    def __init__(self, directory: str, threads: int, *, exact: bool = False) -> None:
        import torch
        from transformers import AutoModelForCausalLM, GenerationConfig
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        torch.set_num_threads(threads)
        dtype = torch.float64 if exact else torch.float32
        self._model: Any = AutoModelForCausalLM.from_pretrained(directory, dtype=dtype).eval()
        self._tokenizer = ModelTokenizer.of_directory(directory)
        self._model.generation_config = GenerationConfig(
            max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0
        )

    def embed(self, texts: list[str]) -> npt.NDArray[np.float32]:
        """Mean of the last hidden states over the first tokens of each text, shape (texts, hidden)."""
        import torch

        if not texts:
            return np.empty((0, self._model.config.hidden_size), np.float32)
        ids, mask = self._padded(texts, EMBEDDED_TOKENS, left=False)
        with torch.inference_mode():
            hidden = self._model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return ((hidden * weights).sum(1) / weights.sum(1)).numpy()

    def complete(self, texts: list[str]) -> npt.NDArray[np.int32]:
        """The most probable tokens after the first ones of each text, shape (texts, NEW_TOKENS)."""
        import torch

        if not texts:
            return np.empty((0, NEW_TOKENS), np.int32)
        ids, mask = self._padded(texts, PROMPT_TOKENS, left=True)
        with torch.inference_mode():
            made = self._model.generate(input_ids=ids, attention_mask=mask)
        return made[:, ids.shape[1] :].numpy().astype(np.int32)

    def _padded(self, texts: list[str], most: int, *, left: bool) -> tuple[Any, Any]:
        """Token ids and mask, each of shape (texts, width)."""
        import torch

        rows = [ids[:most] for ids in self._tokenizer.texts(texts, end=False)]
        width = max(len(ids) for ids in rows)
        tokens, mask = torch.zeros(len(rows), width, dtype=torch.long), torch.zeros(len(rows), width, dtype=torch.long)
        for row, ids in enumerate(rows):
            part = slice(width - len(ids), width) if left else slice(0, len(ids))
            tokens[row, part], mask[row, part] = torch.tensor(ids), 1
        return tokens, mask


@lru_cache(maxsize=1)
def loaded(directory: str, threads: int, *, exact: bool = False) -> Model:
    """A model that stays in its process: Spark's Python workers and Ray's live on from run to run."""
    return Model(directory, threads, exact=exact)


def with_lists(table: pa.Table, name: str, values: npt.NDArray[Any]) -> pa.Table:
    """``document_id`` and a column of lists, from an array of shape (rows, length of a list)."""
    offsets = np.arange(len(table) + 1, dtype=np.int32) * values.shape[1]
    return table.select(["document_id"]).append_column(name, pa.ListArray.from_arrays(offsets, values.ravel()))


def spark_rows(work: Work, share: int) -> Any:
    """Spark's frame of :func:`one_in`; tuned, in a partition for each core, because small tables lie in one file."""
    rows = work.spark.read.parquet(work.documents).select("document_id", "text").where(f"document_id % {share} = 0")
    return rows.repartition(work.cores) if work.tuned else rows


def ray_rows(work: Work, share: int) -> Any:
    """Ray's dataset of :func:`one_in`; tuned, in blocks of a few batches, cut while rows stream: no barrier."""
    import ray

    rows = ray.data.read_parquet(work.documents, columns=["document_id", "text"])
    rows = rows.map_batches(lambda table: one_in(table, share), batch_format="pyarrow")
    return rows.repartition(target_num_rows_per_block=2 * BATCH) if work.tuned else rows


def ray_actors(work: Work) -> dict[str, Any]:
    """Arguments of ``map_batches`` for a pool of actors.

    Tuned, each core has an actor that claims half of it: actors that claim all cores leave none to the tasks that
    read for them, and both wait for ever. By default the pool grows by itself.
    """
    from ray.data import ActorPoolStrategy

    shared: dict[str, Any] = {"batch_size": BATCH, "batch_format": "pyarrow"}
    if not work.tuned:
        return shared
    return {**shared, "compute": ActorPoolStrategy(size=work.cores), "num_cpus": 0.5}


def python_rows(work: Work, share: int) -> pa.Table:
    """Table of :func:`one_in`, read batch by batch."""
    import pyarrow.dataset as ds

    batches = ds.dataset(work.documents).to_batches(columns=["document_id", "text"])
    return pa.concat_tables(one_in(pa.Table.from_batches([batch]), share) for batch in batches)
