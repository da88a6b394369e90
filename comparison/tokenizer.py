"""A small byte-level BPE tokenizer for the stages that need one where no model is given."""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from comparison.digest import files
from comparison.form import Work

VOCABULARY = 4096
END = "<|endoftext|>"
TRAINED_ON = 2_000  # documents: two seconds, and 4 characters per token


def tokenizer_of(work: Work) -> Path:
    """The directory of ``work.options["model"]``, else one below ``work.scratch``, made when first asked for."""
    given = work.options.get("model")
    return Path(given) if given else make_tokenizer(work.scratch / "tokenizer", Path(work.documents))


def make_tokenizer(directory: Path, documents: Path) -> Path:
    """Train a tokenizer on the first documents of a table; a directory that has one stays as it is."""
    if (directory / "tokenizer.json").exists():
        return directory
    from tokenizers import ByteLevelBPETokenizer

    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(_texts(documents), vocab_size=VOCABULARY, special_tokens=[END], show_progress=False)
    directory.mkdir(parents=True, exist_ok=True)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    bpe.save(str(directory / "tokenizer.json"))
    return directory


def _texts(documents: Path) -> Iterator[str]:
    left = TRAINED_ON
    for path in files(documents):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=500, columns=["text"]):
                yield from batch["text"].to_pylist()[:left]
                left -= batch.num_rows
                if left <= 0:
                    return
