"""The made-up documents: the same for a seed, of the size asked for, and with what the stages look for in them."""

from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from comparison.data import generated, write_tables
from comparison.digest import digest_of


def test_a_seed_gives_the_same_documents_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("same", 3), ("other", 4)):
        write_tables(generated(0.3, seed), tmp_path / name, seed)
    digests = [digest_of(tmp_path / name / "documents") for name in ("one", "same", "other")]
    assert digests[0] == digests[1] != digests[2]
    assert digest_of(tmp_path / "one" / "metadata") == digest_of(tmp_path / "same" / "metadata")


def test_size_duplicates_and_metadata_are_as_described(tmp_path: Path) -> None:
    written = write_tables(generated(2, 0), tmp_path / "t", 0)
    documents = pq.read_table(tmp_path / "t" / "documents").to_pydict()
    assert abs(sum(map(len, documents["text"])) - 2e6) < 1e5
    assert written == {"rows": len(documents["text"]), "characters": sum(map(len, documents["text"]))}
    tidy = Counter(" ".join(text.replace("\x07", "").split()) for text in documents["text"])
    assert 0.04 < sum(n - 1 for n in tidy.values()) / len(documents["text"]) < 0.15
    assert len(set(documents["source"])) > 10
    known = set(pq.read_table(tmp_path / "t" / "metadata")["document_id"].to_pylist())
    ids = set(documents["document_id"])
    assert ids - known and known - ids, "a join must drop rows of both sides"


def test_an_interrupted_writing_is_begun_again(tmp_path: Path) -> None:
    whole = write_tables(generated(0.2, 0), tmp_path / "t", 0)
    (tmp_path / "t" / "_COMPLETE").unlink()
    (tmp_path / "t" / "documents" / "part-00007.parquet").write_bytes(b"cut off")
    assert write_tables(generated(0.2, 0), tmp_path / "t", 0) == whole
    assert digest_of(tmp_path / "t" / "documents").rows == whole["rows"]
