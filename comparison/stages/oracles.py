"""What each stage should give, in plain Python: no code here is shared with a form, so that no fault is shared either.

Two things are shared, and said so at their functions: the MinHash signatures, and the tokenizer that is made from the seed.
"""

import hashlib
import re
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pyarrow as pa

from comparison.form import Rows

SEQ_LEN = 256


def cleaned(documents: Rows, metadata: Rows, seed: int) -> Rows:
    """Texts without control characters and runs of blanks, those that keep the rules."""
    kept = []
    for row in documents:
        text = row["text"]
        for code in [*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F]:
            text = text.replace(chr(code), "")
        text = re.sub("[ \t\r\n]+", " ", text).strip(" ")
        symbols = sum(c.isascii() and not c.isalpha() and c != " " for c in text)
        letters, words = len(text) - text.count(" "), text.count(" ") + 1
        if 300 <= len(text) <= 6000 and symbols / len(text) <= 0.25 and 3 <= letters / words <= 10:
            kept.append(row | {"text": text})
    return kept


def deduplicated(documents: Rows, metadata: Rows, seed: int) -> Rows:
    """Of each text the row with the smallest id, which comes first."""
    first: dict[str, dict[str, Any]] = {}
    for row in documents:
        first.setdefault(row["text"], row)
    return list(first.values())


def near_pairs(documents: Rows, metadata: Rows, seed: int) -> Rows:
    """Pairs of documents that share a band. The signatures are the ETL's own, whose tests are in tests/etl."""
    from etl.dedup.minhash import signatures_of

    texts = [{"id": row["document_id"], "text": row["text"], "words": row["text"]} for row in documents]
    batch = pa.RecordBatch.from_pylist(texts)
    buckets = defaultdict(list)
    for signed in signatures_of(5, 14, 8, 45)(iter([batch])):
        for row in signed.to_pylist():
            for key in row["keys"]:
                buckets[key].append(row["id"])
    pairs = set()
    for members in map(sorted, buckets.values()):
        pairs |= {(members[0], other) for other in members[1:]} | set(pairwise(members))
    return [{"first": first, "second": second} for first, second in pairs]


def ordered(documents: Rows, metadata: Rows, seed: int) -> Rows:
    """Rows by the SHA-256 of seed and id."""
    return sorted(documents, key=lambda row: hashlib.sha256(b"%d:%d" % (seed, row["document_id"])).digest())


def joined(documents: Rows, metadata: Rows, seed: int) -> Rows:
    """Each document that has metadata, with them."""
    known = {row["document_id"]: row for row in metadata}
    return [row | known[row["document_id"]] for row in documents if row["document_id"] in known]


def aggregated(documents: Rows, metadata: Rows, seed: int) -> Rows:
    """Counts and lengths per source."""
    texts = defaultdict(list)
    for row in documents:
        texts[row["source"]].append(row["text"])
    return [
        {
            "source": source, "documents": len(some), "characters": sum(map(len, some)), "shortest": min(map(len, some)),
            "words": sum(len(text.split(" ")) for text in some), "longest": max(map(len, some)),
        }
        for source, some in texts.items()
    ]  # fmt: skip


def tokenised(documents: Rows, metadata: Rows, seed: int) -> Rows:
    """The tokens of each text and an end token, cut into blocks; the last one is padded with end tokens.

    The tokenizer is the one that all forms use, made anew from the seed; each text is encoded by itself.
    """
    import tempfile
    from pathlib import Path

    from tokenizers import Tokenizer

    from comparison.stages.shared.model import make_tokenizer

    with tempfile.TemporaryDirectory() as place:
        make_tokenizer(Path(place), seed)
        tokenizer = Tokenizer.from_file(f"{place}/tokenizer.json")
    end = tokenizer.token_to_id("<|endoftext|>")
    blocks = []
    for row in documents:
        ids = [*tokenizer.encode(row["text"], add_special_tokens=False).ids, end]
        for number, first in enumerate(range(0, len(ids), SEQ_LEN)):
            part = ids[first : first + SEQ_LEN]
            padded = part + [end] * (SEQ_LEN - len(part))
            blocks.append(
                {"document_id": row["document_id"], "block": number, "tokens": len(part), "input_ids": padded}
            )
    return blocks


def fed(documents: Rows, metadata: Rows, seed: int) -> Rows:
    """Id and length of every document: each reaches one worker, once."""
    return [{"document_id": row["document_id"], "characters": len(row["text"])} for row in documents]
