"""Bad raw files are found by name before any engine starts."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl.config import SourceConfig
from etl.read.check import check_source, undecodable
from etl.read.source import resolved
from handoff.errors import ConfigError, SourceError


def check(directory: Path, **settings: Any) -> int:
    """Number of files that pass; raises what a user would see."""
    return len(check_source(SourceConfig(uri=str(directory), **settings), directory))


def fault(directory: Path, **settings: Any) -> str:
    with pytest.raises(SourceError) as raised:
        check(directory, **settings)
    assert "Remedy" in str(raised.value) and "\n" not in str(raised.value)
    return str(raised.value)


def test_a_binary_text_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("good")
    (tmp_path / "picture.txt").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    message = fault(tmp_path)
    assert "picture.txt is binary" in message and "good.txt" not in message
    assert "picture.txt is binary" in fault(tmp_path, encoding="iso-8859-1")


def test_a_wrong_encoding_is_named_with_byte_and_offset(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(("caf\u00e9 noir \u201csaid\u201d " * 3).encode("cp1252"))
    message = fault(tmp_path)
    assert "latin.txt is not utf-8 text: byte 0xe9 near offset 3" in message and "cp1252" in message
    assert check(tmp_path, encoding="cp1252") == check(tmp_path, encoding="iso-8859-1") == 1


def test_a_character_across_the_end_of_the_head_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_bytes(b"x" * (64 * 1024 - 1) + "\u00e9".encode() + b"tail")
    assert check(tmp_path) == 1


def test_utf_16_is_text_when_configured(tmp_path: Path) -> None:
    (tmp_path / "wide.txt").write_bytes("wide text".encode("utf-16-le"))
    assert "wide.txt is binary" in fault(tmp_path)
    assert check(tmp_path, encoding="utf-16") == 1


@pytest.mark.parametrize("encoding", ["utf-9", "base64"])
def test_an_unknown_encoding_is_a_configuration_error(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(ConfigError, match="is no text encoding"):
        check(tmp_path, encoding=encoding)


def test_a_fault_beyond_the_head_is_found_when_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("fine")
    (tmp_path / "late.txt").write_bytes("\u00e9".encode() * 2_500_000 + b"\xff" + b"y")
    config = SourceConfig(uri=f"{tmp_path}/*.txt")
    assert check(tmp_path) == 2
    with resolved(config, tmp_path) as source:
        assert "late.txt is not utf-8 text: byte 0xff near offset 5,000,000" in undecodable(source.files[1], config)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", "no JSON object"),
        ('["a list"]', "no JSON object"),
        ('{"body": "x", "url": "y"}', "has no column 'text', but body, url"),
        ('{"text": 5}', "is no string"),
    ],
)
def test_a_first_line_that_is_no_record_with_text(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "records.jsonl").write_text(f"{line}\n" + '{"text": "fine"}\n')
    found = fault(tmp_path)
    assert "records.jsonl" in found and message in found


def test_jsonl_that_is_fine(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('\n{"text": null, "n": 1}\n')
    (tmp_path / "long.jsonl").write_text(json.dumps({"text": "x" * 300_000}) + "\n")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b'{"text": "x"}\n'))
    (tmp_path / "empty.jsonl").touch()
    assert check(tmp_path) == 4


def test_damaged_gzip_is_named(tmp_path: Path) -> None:
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"text": "x"}\n')[:12])
    (tmp_path / "plain.jsonl.gz").write_bytes(b'{"text": "x"}\n')
    message = fault(tmp_path)
    assert "cut.jsonl.gz cannot be read" in message and "plain.jsonl.gz cannot be read" in message


def test_parquet_of_a_wrong_schema_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"body": ["x"]}), tmp_path / "renamed.parquet")
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "numbers.parquet")
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "good.parquet")
    (tmp_path / "empty.parquet").touch()
    (tmp_path / "garbage.parquet").write_bytes(b"no parquet at all")
    message = fault(tmp_path)
    assert "renamed.parquet has no column 'text', but body" in message
    assert "numbers.parquet: column 'text' is int64, not a string" in message
    assert "garbage.parquet is not readable as Parquet" in message
    assert "empty.parquet is not readable as Parquet" in message
    assert "good.parquet" not in message


def test_a_missing_id_column_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "a.parquet")
    assert "has no column 'url'" in fault(tmp_path, id_column="url")
