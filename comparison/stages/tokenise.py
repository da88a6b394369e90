"""Tokenise texts and pack them into blocks: Rust and NumPy behind Python, a row through each, nothing shuffled.

Each document begins in a block of its own, as in the published recipes: blocks that span documents would depend on
where an engine cuts its partitions. The stage ``chain`` packs the stream across documents as training does.
"""

import os
from typing import Any

import numpy as np
import pyarrow as pa

from comparison.form import Form, Stage, Work
from comparison.stages import oracles
from comparison.stages.shared.model import model_of
from comparison.stages.shared.tables import Kernel, in_ray, in_spark, read_ray, read_spark, write_ray, write_spark
from handoff.tokenizer import ModelTokenizer
from training.data.packing import Passage, pack

SEQ_LEN = 256
AT_A_TIME = 512  # texts: the tokenizer keeps offsets and more of each token until a call is done
BLOCKS = pa.schema(
    [("document_id", pa.int64()), ("block", pa.int32()), ("tokens", pa.int32()), ("input_ids", pa.list_(pa.int32()))]
)


def packer(tokenizer: ModelTokenizer) -> Kernel:
    """A kernel from ``document_id, text`` to the blocks of each document; pads are not counted as ``tokens``."""

    def packed(batch: pa.RecordBatch) -> pa.RecordBatch:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # there is a worker per core
        owners, numbers, tokens, ids = list[int](), list[int](), list[int](), list[Any]()
        for start in range(0, batch.num_rows, AT_A_TIME):
            some = batch.slice(start, AT_A_TIME)
            texts = tokenizer.texts(some["text"].to_pylist(), end=True)
            for owner, text in zip(some["document_id"].to_pylist(), texts, strict=True):
                for block in pack([Passage(np.array(text, np.int32))], SEQ_LEN, tokenizer.end_id, padded=True):
                    owners.append(owner)
                    numbers.append(block.index)
                    tokens.append(block.tokens)
                    ids.append(block.ids)
        flat = np.concatenate(ids) if ids else np.empty(0, np.int32)
        lists = pa.ListArray.from_arrays(np.arange(0, len(flat) + 1, SEQ_LEN, dtype=np.int32), flat)
        return pa.record_batch([pa.array(owners), pa.array(numbers), pa.array(tokens), lists], schema=BLOCKS)

    return packed


def spark_python(work: Work) -> None:
    kernel = packer(ModelTokenizer.of_directory(model_of(work)))
    documents = read_spark(work, work.documents, "document_id", "text")
    schema = "document_id long, block int, tokens int, input_ids array<int>"
    write_spark(documents.mapInArrow(in_spark(kernel), schema), work)


def ray_python(work: Work) -> None:
    kernel = packer(ModelTokenizer.of_directory(model_of(work)))
    documents = read_ray(work, work.documents, "document_id", "text")
    write_ray(documents.map_batches(in_ray(kernel), batch_format="pyarrow"), work)


STAGE = Stage(
    name="tokenise",
    title="Tokenise and pack",
    question="How fast do texts become training blocks when all work is in Python's libraries?",
    forms=(
        Form("spark", "mapInArrow", spark_python, kernel="packer"),
        Form("ray", "map_batches", ray_python, kernel="packer"),
    ),
    oracle=oracles.tokenised,
)
