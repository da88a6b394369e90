"""What a raw file is and what is read of it: one answer for plan's check and for the stage, without an engine."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from etl.config import SourceConfig
from etl.read.check import check_source
from etl.read.decoding import decoded, invalid_bytes
from etl.read.documents import tasks_of
from etl.read.files import PART_BYTES, Part, SourceFile, is_left_out, kind_of, parts_of
from etl.read.records import Record, records
from etl.read.source import Source, resolved
from handoff.errors import SourceError


def read(directory: Path, name: str, data: bytes, **settings: Any) -> list[Record]:
    """The records of a file, which plan's check lets pass."""
    (directory / name).write_bytes(data)
    config = SourceConfig(uri=str(directory / name), **settings)
    assert len(check_source(config, directory)) == 1
    file = SourceFile(str(directory / name), name, len(data))
    return [r for part in parts_of(file, 0, config.encoding, 1 << 20) for r in records(part, config)]


def texts(found: list[Record]) -> list[str | None]:
    return [record.text for record in found]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.txt", ("txt", "")),
        ("UPPER.TXT", ("txt", "")),
        ("a.TXT.GZ", ("txt", ".gz")),
        ("a.csv.zst", ("csv", ".zst")),
        ("a.b.Html", ("markup", "")),
        ("a.parquet", ("parquet", "")),
        ("a.parquet.gz", (None, "")),
        ("a.doc", (None, "")),
        ("txt", (None, "")),
    ],
)
def test_a_name_tells_format_and_compression(name: str, expected: tuple[str | None, str]) -> None:
    assert kind_of(name) == expected


def test_only_hidden_files_and_what_engines_leave_are_left_out(tmp_path: Path) -> None:
    left_out = [".hidden.txt", "_SUCCESS", "_temporary/0/a.txt", "_delta_log/1.parquet", "a/.git/b.txt", "_metadata"]
    for name in (*left_out, "_intro.txt", "sub/_notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("words")
    with resolved(SourceConfig(uri=str(tmp_path)), tmp_path) as source:
        assert [f.name for f in source.files] == ["_intro.txt", "sub/_notes.txt"]
        assert sorted(source.left_out) == sorted(left_out) and all(map(is_left_out, left_out))


@pytest.mark.parametrize("bom", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("configured", ["utf-8", "cp1252", "utf-8-sig", "utf-16"])
def test_a_byte_order_mark_tells_the_encoding_in_every_format(tmp_path: Path, bom: str, configured: str) -> None:
    def found(name: str, text: str) -> list[str | None]:
        return texts(read(tmp_path, name, text.encode(bom), encoding=configured))

    assert found("a.txt", "caf\u00e9 \u6771") == ["caf\u00e9 \u6771"]
    assert found("a.html", "<p>caf\u00e9</p>") == ["caf\u00e9"]
    assert found("a.jsonl", '{"text": "caf\u00e9"}\n{"text": "b"}') == ["caf\u00e9", "b"]
    assert found("a.csv", 'text,n\r\n"caf\u00e9",1\r\n') == ["caf\u00e9"]


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_utf_16_without_a_mark_is_read_in_the_order_of_its_zero_bytes(tmp_path: Path, order: str) -> None:
    assert texts(read(tmp_path, "a.txt", "wide caf\u00e9".encode(order), encoding=order[:6])) == ["wide caf\u00e9"]


def test_latin_1_is_what_browsers_take_it_for(tmp_path: Path) -> None:
    """Windows writes quotation marks, dashes and the euro sign where Latin-1 has control characters."""
    text = "\u201cquoted\u201d \u2013 \u20ac 5, caf\u00e9"
    for name in ("iso-8859-1", "latin-1", "cp1252", "ascii"):
        assert texts(read(tmp_path, "a.txt", text.encode("cp1252"), encoding=name)) == [text]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.txt", b"caf\xff\xfe x"),
        ("a.html", b"<p>caf\xff\xfe x</p>"),
        ("a.jsonl", b'{"text": "caf\xff\xfe x"}'),
        ("a.csv", b"text\ncaf\xff\xfe x\n"),
        ("a.csv", b"text\n" + b"fine\n" * 40_000 + b"caf\xff\xfe x\n"),  # beyond what is looked at first
    ],
)
def test_invalid_bytes_are_replaced_and_counted_in_every_format(tmp_path: Path, name: str, data: bytes) -> None:
    found = read(tmp_path, name, data)
    assert texts(found)[-1] == "caf\ufffd\ufffd x"
    assert sum(r.invalid for r in found) == 2 and sum(r.non_ascii for r in found) == 2


def test_invalid_bytes_of_parquet_are_treated_alike(tmp_path: Path) -> None:
    strings = pa.array([b"caf\xff\xfe x", None], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": strings}), tmp_path / "a.parquet")
    bad, none = read(tmp_path, "a.parquet", (tmp_path / "a.parquet").read_bytes())
    assert (bad.text, bad.invalid, none.reason) == ("caf\ufffd\ufffd x", 2, "no_text")


def test_halves_of_surrogate_pairs_are_invalid_too(tmp_path: Path) -> None:
    lone, pair = read(tmp_path, "a.jsonl", b'{"text": "a\\ud83d"}\n{"text": "\\ud83d\\ude00"}\n')
    assert (lone.text, lone.invalid, pair.text, pair.invalid) == ("a\ufffd", 2, "\U0001f600", 0)


def test_files_in_another_encoding_are_refused_with_the_right_one(tmp_path: Path) -> None:
    for name in ("a.txt", "a.jsonl", "a.csv"):
        (tmp_path / name).write_bytes(b'{"text": "' + "\u201ccaf\u00e9\u201d ".encode("cp1252") * 20 + b'"}')
        with pytest.raises(SourceError, match=rf"{name} is not utf-8 text: byte 0x93 near offset 10.*cp1252"):
            check_source(SourceConfig(uri=str(tmp_path / name)), tmp_path)


def test_every_value_on_a_line_of_json_is_read_or_counted(tmp_path: Path) -> None:
    """`cat` of files without a final line end puts two objects on one line."""
    data = b'{"text": "a"}{"text": "b"} {"text": "c"}\n{"text": "d"} rest\n[1]\n"e"\n{"text": "f"}\r\n\n{"text": 5}'
    found = read(tmp_path, "a.jsonl", data)
    assert [r.text or r.reason for r in found] == [
        *("a", "b", "c", "d", "malformed_record", "malformed_record", "malformed_record", "f", "text_is_no_string")
    ]
    assert sum(r.raw_bytes for r in found) == len(data) - 1  # the blank line


def test_a_record_that_is_too_long_is_counted_and_the_next_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etl.read.lines.MOST_RECORD_BYTES", 100_000)
    monkeypatch.setattr("etl.read.files.CHUNK_BYTES", 30_000)
    long = json.dumps({"text": "x" * 300_000})
    found = read(tmp_path, "a.jsonl", f'{{"text": "a"}}\n{long}\n{{"text": "b"}}'.encode())
    assert [(r.text, r.reason) for r in found] == [("a", None), (None, "record_too_long"), ("b", None)]
    assert found[1].raw_bytes == len(long) + 1


def test_zstd_with_a_long_window_and_several_frames(tmp_path: Path) -> None:
    settings = zstandard.ZstdCompressionParameters(window_log=30, enable_ldm=True, write_content_size=False)
    packed = zstandard.ZstdCompressor(compression_params=settings).compressobj()
    frame = packed.compress(b'{"text": "long"}\n') + packed.flush()
    assert texts(read(tmp_path, "a.jsonl.zst", frame * 3)) == ["long"] * 3
    assert texts(read(tmp_path, "a.jsonl.gz", gzip.compress(b'{"text": "m"}\n') * 40)) == ["m"] * 40
    assert texts(read(tmp_path, "a.txt.gz", gzip.compress(b"packed text"))) == ["packed text"]


@pytest.mark.parametrize("type_", [pa.uint16(), pa.uint64(), pa.int8(), pa.large_string(), pa.string_view()])
def test_ids_of_any_integer_or_string(tmp_path: Path, type_: pa.DataType) -> None:
    ids = pa.array([7, 8]).cast(pa.string()).cast(type_)
    columns = {"n": ids, "text": pa.array(["a", "b"]).dictionary_encode()}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    found = read(tmp_path, "a.parquet", (tmp_path / "a.parquet").read_bytes(), id_column="n")
    assert [(r.doc_id, r.text) for r in found] == [("7", "a"), ("8", "b")]


def test_an_id_that_is_no_name_is_refused_in_plan(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": [1.5], "text": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="'n' is double, neither a string nor an integer"):
        check_source(SourceConfig(uri=str(tmp_path / "a.parquet"), id_column="n"), tmp_path)


@pytest.mark.parametrize("name", ["a:b.txt", "caf\u00e9 [1] {x}, 100%.txt", "#1?.txt", " .txt", "a\\b.txt", "a\nb.txt"])
def test_odd_names_are_names(tmp_path: Path, name: str) -> None:
    (record,) = read(tmp_path, name, b"words")
    assert (record.doc_id, record.text) == (name, "words")


def test_a_link_back_to_where_it_lies_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "in/a.txt").write_text("words")
    (tmp_path / "in/sub/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/self").symlink_to(".")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/b.txt").write_text("words")
    (tmp_path / "in/link").symlink_to(tmp_path / "out")
    with resolved(SourceConfig(uri=str(tmp_path / "in")), tmp_path) as source:
        assert [f.name for f in source.files] == ["a.txt", "link/b.txt"]
    (tmp_path / "in/gone.txt").symlink_to(tmp_path / "nowhere")
    with pytest.raises(SourceError, match=r"gone\.txt is a link to nothing"):
        check_source(SourceConfig(uri=str(tmp_path / "in")), tmp_path)


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path: Path) -> None:
    """Plan reads files as they are; by the time the stage reads them, one may be gone or locked."""
    with pytest.raises(SourceError, match=r"a\.txt is gone"):
        next(records(Part(SourceFile(str(tmp_path / "a.txt"), "a.txt", 5)), SourceConfig(uri="x")))
    script = (
        "import os, sys; from etl.read.files import *; os.geteuid() or os.setuid(65534); "
        "head_of(SourceFile(sys.argv[1], 'a.txt', 5), 'utf-8')"
    )
    (tmp_path / "a.txt").write_text("words")
    (tmp_path / "a.txt").chmod(0)
    command = [sys.executable, "-c", script, str(tmp_path / "a.txt")]
    told = subprocess.run(command, capture_output=True, text=True).stderr.splitlines()[-1]
    assert "SourceError" in told and "a.txt may not be read" in told


@pytest.mark.parametrize("slashes", ["//", "/./", "/x/../"])
def test_ids_do_not_depend_on_how_a_path_is_written(tmp_path: Path, slashes: str) -> None:
    (tmp_path / "in/x").mkdir(parents=True)
    (tmp_path / "in/a.txt").write_text("words")
    for uri in (
        f"file://{tmp_path}{slashes}in//*.txt",
        f"{tmp_path}{slashes.replace('x', 'in')}in/",
        f"//{tmp_path}/in",
    ):
        with resolved(SourceConfig(uri=uri), tmp_path) as source:
            assert [(f.name, f.uri) for f in source.files] == [("a.txt", f"{tmp_path}/in/a.txt")]


def whole(found: list[Record]) -> str:
    assert [r.part for r in found] == list(range(len(found))) and len({r.doc_id for r in found}) == 1
    assert all(len(r.text or "") <= PART_BYTES + (64 << 10) for r in found)
    return "".join(r.text or "" for r in found)


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16", "shift_jis"])
def test_a_long_text_is_read_in_parts_and_nothing_of_it_is_lost(tmp_path: Path, encoding: str) -> None:
    text = ("word " * 20 + "caf\u00e9" * (encoding != "shift_jis") + "\r\n\r\n") * 200_000
    found = read(tmp_path, "a.txt", text.encode(encoding), encoding=encoding)
    assert len(found) == 3 and whole(found) == text
    assert all((r.text or "").endswith("\r\n\r\n") for r in found)
    packed = read(tmp_path, "a.txt.zst", zstandard.compress(text.encode(encoding)), encoding=encoding)
    assert whole(packed) == text


def test_a_long_text_without_any_place_to_cut_is_cut_between_characters(tmp_path: Path) -> None:
    text = "\u6f22" * 7_000_001
    found = read(tmp_path, "a.txt", text.encode())
    assert len(found) == 3 and whole(found) == text and sum(r.invalid for r in found) == 0


def test_a_long_text_in_a_record_is_given_on_in_parts(tmp_path: Path) -> None:
    text = "word " * 4_000_000
    found = read(tmp_path, "a.jsonl", json.dumps({"text": text}).encode() + b'\n{"text": "b"}')
    assert len(found) == 4 and whole(found[:3]) == text and found[3].text == "b"


def test_lines_are_the_same_however_a_file_is_cut(tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"{n} {'x' * (n % 977)}"}) for n in range(20_000)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    file = SourceFile(str(tmp_path / "a.jsonl"), "a.jsonl", (tmp_path / "a.jsonl").stat().st_size)
    config = SourceConfig(uri="x")
    cuts = [
        [r.text for p in parts_of(file, 0, "utf-8", size) for r in records(p, config)] for size in (1 << 18, 1 << 30)
    ]
    assert len(parts_of(file, 0, "utf-8", 1 << 18)) > 20 and cuts[0] == cuts[1] and len(cuts[0]) == 20_000


def test_row_groups_are_parts(tmp_path: Path) -> None:
    table = pa.table({"text": [f"{n} " + "x" * 2000 for n in range(4000)]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=100, compression="none")
    file = SourceFile(str(tmp_path / "a.parquet"), "a.parquet", (tmp_path / "a.parquet").stat().st_size)
    parts = parts_of(file, 0, "utf-8", 1 << 20)
    assert 5 < len(parts) < 40
    assert [r.text for p in parts for r in records(p, SourceConfig(uri="x"))] == table["text"].to_pylist()


def test_many_small_files_are_few_tasks_and_one_large_text_is_many() -> None:
    config = SourceConfig(uri="x")
    small = Source(config, "/x", tuple(SourceFile(f"/x/{n}.txt", f"{n}.txt", 200) for n in range(12_000)), "txt", True)
    tasks = tasks_of([small], cores=2)
    assert len(tasks) <= 24 and sum(map(len, tasks)) == 12_000
    assert len(tasks_of([small], cores=100)) <= 110


def test_a_file_no_one_can_read_in_parts_is_refused_in_plan(tmp_path: Path) -> None:
    for name, size, message in (
        ("a.txt", (16 << 30) + 1, r"a\.txt has more than 16 GiB\. Remedy: split it"),
        ("a.html", (64 << 20) + 1, r"a\.html has more than 64 MiB.*Remedy: split it, or give its text as \.txt"),
    ):
        with open(tmp_path / name, "wb") as file:
            os.truncate(file.fileno(), size)  # takes no space
        with pytest.raises(SourceError, match=message):
            check_source(SourceConfig(uri=str(tmp_path / name)), tmp_path)


def test_counting_is_per_thread_and_goes_on() -> None:
    before = invalid_bytes()
    assert decoded(b"\xff\xfe", "utf-8") == "\ufffd\ufffd" and invalid_bytes() == before + 2
