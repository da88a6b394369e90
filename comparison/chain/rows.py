"""Arrow kernels of the chain's ETL that are no stage of their own."""

import hashlib

import pyarrow as pa
import pyarrow.compute as pc

LEAST_CHARACTERS = 200


def cleaned(batch: pa.Table) -> pa.Table:
    text = pc.replace_substring_regex(batch["text"], r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", "")
    text = pc.utf8_trim(pc.replace_substring_regex(text, r"[ \t\r\n]+", " "), " ")
    keep = pc.greater_equal(pc.utf8_length(text), LEAST_CHARACTERS)
    return pa.table({"document_id": batch["document_id"], "text": text}).filter(keep)


def keyed(batch: pa.Table) -> pa.Table:
    keys = [hashlib.blake2b(t.encode(), digest_size=16).digest() for t in batch["text"].to_pylist()]
    return batch.append_column("key", pa.array(keys, pa.binary()))


def first_of_each(batch: pa.Table) -> pa.Table:
    firsts = batch.group_by("key").aggregate([("document_id", "min")])
    return batch.filter(pc.is_in(batch["document_id"], firsts["document_id_min"])).select(["document_id", "text"])


def ordered_key(batch: pa.Table, seed: int) -> pa.Table:
    keys = [hashlib.sha256(f"{seed}\0{n}".encode()).hexdigest() for n in batch["document_id"].to_pylist()]
    return batch.append_column("order", pa.array(keys))


def corpus_rows(batch: pa.Table) -> pa.Table:
    """Rows of ``handoff.schema.CORPUS`` from document_id and text."""
    ids = batch["document_id"].cast(pa.string())
    zeros = pa.array([0] * len(batch), pa.int32())
    return pa.table({"row_id": ids, "doc_id": ids, "position": zeros, "text": batch["text"]})
