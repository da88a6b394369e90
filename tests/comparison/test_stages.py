"""Every form of a stage gives the rows that plain Python gives, on real engines at about 1 MB.

Reference and forms share no code: that all engines are equal would not show a mistake that they share.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from comparison.data import generated, write_tables
from comparison.digest import digest_of
from comparison.form import Stage, Work
from comparison.registry import NAMES, stage

Rows = list[dict[str, Any]]
SEED = 3


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A megabyte of made-up documents, and some whose texts each rule and each engine could take differently."""
    directory = tmp_path_factory.mktemp("tables")
    write_tables(_documents(), directory, SEED)
    return directory


def _documents() -> Iterator[tuple[str, str]]:
    yield from generated(0.9, SEED)
    words = "einige Wörter über Straßen 東京 naïve café und vieles mehr "
    for text in (
        words * 8, f" {words * 8}", words * 8 + "\n", f"{words * 4}\t{words * 4}\x7f", words.upper() * 8, "", " ", "\x00",
        "a" * 400, "ab " * 200, "12345 words " * 60, f"{words * 4}\u00a0\u2028{words * 4}", "word " * 1300, "word " * 59,
    ):  # fmt: skip
        yield "odd", text
        yield "odd again", text


def work_of(tables: Path, output: Path, scratch: Path, spark: Any, tuned: bool) -> Work:
    return Work(
        tables, output, scratch, megabytes=1, cores=2, memory_bytes=1 << 30, tuned=tuned, seed=SEED, spark=spark
    )


def rows_of(directory: Path) -> Rows:
    return [row for path in sorted(directory.rglob("*.parquet")) for row in pq.read_table(path).to_pylist()]


ORACLES = [name for name in NAMES if stage(name).oracle and name != "feed"]


def write(rows: Rows, directory: Path) -> Path:
    directory.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), directory / "part-0.parquet")
    return directory


def forms_agree(one: Stage, tables: Path, tmp_path: Path, spark: Any) -> str:
    """The digest that all forms give."""
    digests = {}
    for number, form in enumerate(one.forms):
        output = tmp_path / f"{number}"
        form.run(Work(tables, output, tmp_path, 1, cores=2, memory_bytes=1 << 30, seed=SEED, spark=spark))
        digests[form.name] = str(digest_of(output, one.compared))
    assert len(set(digests.values())) == 1, digests
    return next(iter(digests.values()))


@pytest.mark.parametrize("name", ORACLES)
def test_all_forms_give_the_rows_of_plain_python(
    name: str, tables: Path, tmp_path: Path, spark: Any, ray_cluster: None
) -> None:
    one = stage(name)
    agreed = forms_agree(one, tables, tmp_path, spark)
    documents, metadata = rows_of(tables / "documents"), rows_of(tables / "metadata")
    oracle = one.oracle
    assert oracle
    expected = oracle(documents, metadata, SEED)
    assert expected
    assert expected != documents
    assert agreed == str(digest_of(write(expected, tmp_path / "expected"), one.compared))


def test_tokens_of_each_document_give_its_text_again(
    tables: Path, tmp_path: Path, spark: Any, ray_cluster: None
) -> None:
    from tokenizers import Tokenizer

    one = stage("tokenise")
    forms_agree(one, tables, tmp_path, spark)
    tokenizer = Tokenizer.from_file(str(tmp_path / "model" / "tokenizer.json"))
    blocks = sorted(rows_of(tmp_path / "0"), key=lambda row: (row["document_id"], row["block"]))
    ids: dict[int, list[int]] = defaultdict(list)
    for row in blocks:
        assert len(row["input_ids"]) == 256
        assert row["block"] == len(ids[row["document_id"]]) // 256  # none is missing, and only the last is padded
        ids[row["document_id"]] += row["input_ids"][: row["tokens"]]
    end = tokenizer.token_to_id("<|endoftext|>")
    assert all(tokens.count(end) == 1 and tokens[-1] == end for tokens in ids.values())
    texts = {number: tokenizer.decode(tokens[:-1]) for number, tokens in ids.items()}
    assert texts == {row["document_id"]: row["text"] for row in rows_of(tables / "documents")}
