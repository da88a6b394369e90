"""The small model of the stages that train and infer, made from a seed, and blocks of tokens to train it on."""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from comparison.data import generated
from comparison.digest import files
from comparison.form import Work
from handoff.tokenizer import ModelTokenizer
from training.data.ingest import rows_of
from training.data.packing import Passage, pack
from training.worker.step import Rows

VOCABULARY = 4096
TOKENIZER_MB = 1.0  # of text that the tokenizer learns from
SIZES: dict[str, Any] = {
    "hidden_size": 96,
    "intermediate_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}  # 0.7 million parameters: start and data flow weigh against steps as they do in a short fine-tuning


def model_of(work: Work) -> Path:
    """Directory of the model: the one that ``work.options["model"]`` names, else one made below ``work.scratch``."""
    given = work.options.get("model")
    return Path(given) if given else make_model(work.scratch / "model", work.seed)


def make_model(directory: Path, seed: int) -> Path:
    """A Hugging Face directory with a Llama of random weights and a byte-level BPE tokenizer; made once.

    The same bytes for the same seed. It imports torch and transformers: the comparison makes it before it measures.
    """
    if (directory / "model.safetensors").exists():
        return directory
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()

    make_tokenizer(directory, seed)
    torch.manual_seed(seed)
    config = LlamaConfig(vocab_size=VOCABULARY, bos_token_id=0, eos_token_id=0, **SIZES)
    LlamaForCausalLM(config).save_pretrained(directory)
    return directory


def make_tokenizer(directory: Path, seed: int) -> None:
    """Write ``tokenizer.json`` of a byte-level BPE tokenizer: the same one for the same seed."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    bpe = ByteLevelBPETokenizer()
    texts = (text for _, text in generated(TOKENIZER_MB, seed))
    bpe.train_from_iterator(texts, vocab_size=VOCABULARY, special_tokens=["<|endoftext|>"], show_progress=False)
    PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, eos_token="<|endoftext|>").save_pretrained(directory)


def first_blocks(work: Work, model: Path, count: int, seq_len: int) -> Path:
    """File with the first ``count`` blocks of the documents in their order, made once below ``work.scratch``.

    Raises:
        ValueError: the documents have fewer.
    """
    file = work.scratch / f"blocks-{count}x{seq_len}.npz"
    if not file.exists():
        tokenizer = ModelTokenizer.of_directory(model)
        batches = (
            b for path in files(Path(work.documents)) for b in pq.ParquetFile(path).iter_batches(256, columns=["text"])
        )
        rows = (ids for batch in batches for ids in tokenizer.texts(batch["text"].to_pylist(), end=True))
        passages = (Passage(np.asarray(ids, np.int32)) for ids in rows)
        blocks = list(islice(pack(passages, seq_len, tokenizer.end_id), count))
        if len(blocks) < count:
            raise ValueError(f"{work.documents} has {len(blocks)} blocks of {seq_len} tokens, {count} are needed")
        save_blocks(rows_of(blocks, count, seq_len), file)
    return file


def save_blocks(rows: Rows, file: Path) -> None:
    """Write blocks for :func:`load_blocks`."""
    np.savez(file, ids=rows.ids, positions=rows.positions, labels=rows.labels)


def load_blocks(file: str) -> Rows:
    """Blocks as :func:`save_blocks` wrote them."""
    arrays = np.load(file)
    return Rows(arrays["ids"], arrays["positions"], arrays["labels"])
