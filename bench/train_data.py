"""What `make bench-train` trains on: lines of Shakespeare as a corpus, and a small Llama of random weights."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.etl import texts
from handoff import schema
from handoff.artifact import Artifact
from handoff.publish import describe_in_place, find, staging
from handoff.store import Store

VOCABULARY = 4096
SHORTEST_LINE = 20  # characters: leaves out speakers' names and blank lines


def lines(count: int) -> list[str]:
    """The first lines of the plays, each longer than a name."""
    found = []
    for file in sorted(texts().rglob("*.txt")):
        for line in file.read_text(errors="replace").splitlines():
            if len(line.strip()) >= SHORTEST_LINE:
                found.append(line.strip())
                if len(found) == count:
                    return found
    raise ValueError(f"the texts have {len(found)} lines, {count} were asked for")


def publish_lines(store: Store, train: int, validation: int) -> Artifact:
    """A corpus artifact in which each passage is one line, as in the published GPT-J recipe."""
    identity = {"lines": train, "validation": validation}
    first = min(texts().rglob("*.txt"))
    with staging(store, "raw", {"file": first.name}, []) as place:
        raw = place.publish(in_place=[describe_in_place(str(first))])
    if found := find(store, "corpus", identity, [raw]):
        return found
    rows, all_lines = {"train": train, "validation": validation}, lines(train + validation)
    parts = {"train": all_lines[:train], "validation": all_lines[train:]}
    with staging(store, "corpus", identity, [raw]) as place:
        for split, chosen in parts.items():
            numbers = range(len(chosen))
            table = pa.table(
                {
                    "row_id": [f"{split}-{n}" for n in numbers],
                    "doc_id": ["lines" for _ in numbers],
                    "position": pa.array(numbers, pa.int32()),
                    "text": chosen,
                },
                schema=schema.CORPUS,
            )
            pq.write_table(table, f"{place.uri(split)}/part-00000.parquet")
        return place.publish(schema=schema.CORPUS, rows=rows)


def make_model(directory: Path, *, tokenizer: bool = True, **sizes: Any) -> Path:
    """A Llama of random weights and, if asked for, a byte-level BPE tokenizer trained on the lines; made once."""
    if (directory / "config.json").exists():
        return directory
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    if tokenizer:
        _make_tokenizer(directory)
    torch.manual_seed(0)
    made = {
        "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 4,
        "max_position_embeddings": 1024, "vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0,
    }  # fmt: skip
    LlamaForCausalLM(LlamaConfig(**(made | sizes))).save_pretrained(directory)
    return directory


def _make_tokenizer(directory: Path) -> None:
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(lines(20_000), vocab_size=VOCABULARY, special_tokens=["<|endoftext|>"], show_progress=False)
    PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, eos_token="<|endoftext|>").save_pretrained(directory)
