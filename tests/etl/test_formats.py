"""Each format that is read, and files that are not what their names say."""

import bz2
import gzip
import io
import json
import lzma
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from etl.config import SourceConfig
from etl.read.check import check_source
from etl.read.source import resolved
from handoff.errors import SourceError
from tests.etl.test_files import read, texts

LINES = b'{"text": "a"}\n{"text": "b"}\n'
PACKERS: dict[str, Any] = {"gz": gzip.compress, "zst": zstandard.compress, "xz": lzma.compress, "bz2": bz2.compress}


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("name", ["c4-train.00000-of-01024.json", "a.jsonl", "a.ndjson"])
def test_json_lines_in_every_name_and_packing(tmp_path: Path, name: str, packer: str) -> None:
    assert texts(read(tmp_path, f"{name}.{packer}", PACKERS[packer](LINES))) == ["a", "b"]
    assert texts(read(tmp_path, name, LINES)) == ["a", "b"]


@pytest.mark.parametrize("packer", PACKERS)
def test_a_packed_file_that_is_cut_short_is_an_error(tmp_path: Path, packer: str) -> None:
    """zstd's own reader takes such a file for a whole one."""
    data = PACKERS[packer](b"".join(json.dumps({"text": f"{n * 7919}"}).encode() + b"\n" for n in range(50_000)))
    with pytest.raises(SourceError, match="damaged or cut short"):
        read(tmp_path, f"a.jsonl.{packer}", data[: len(data) * 2 // 3])
    with pytest.raises(SourceError, match="damaged or cut short"):
        read(tmp_path, f"a.jsonl.{packer}", data[:-3])


@pytest.mark.parametrize(
    "data",
    [
        '[{"text": "a"}, {"text": "b"}]',
        json.dumps([{"text": "a"}, {"text": "b"}], indent=2),
        json.dumps({"text": "a"}, indent=2) + "\n" + json.dumps({"text": "b"}, indent=2),
        '\n[\n{"text": "a"}\n,\n{"text": "b"}\n]\n',
    ],
)
def test_json_that_is_no_lines(tmp_path: Path, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert texts(read(tmp_path, "a.json", data.encode())) == ["a", "b"]
    monkeypatch.setattr("etl.read.files.CHUNK_BYTES", 7)
    found = read(tmp_path, "a.json", data.encode())
    assert texts(found) == ["a", "b"] and sum(r.lost_bytes for r in found) == 0


def test_an_array_that_breaks_is_counted_from_there_on(tmp_path: Path) -> None:
    found = read(tmp_path, "a.json", b'[{"text": "a"}, {"text": "b"}, 5, {"text": c"}, {"text": "d"}]')
    assert [r.text or r.reason for r in found] == ["a", "b", "malformed_record", "malformed_record"]
    assert found[3].lost_bytes == len('{"text": c"}, {"text": "d"}]') and "character 34" in (found[3].doc_id or "")


CHAT = {
    "id": 7,
    "messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Ho."}],
    "meta": {"t": "T"},
}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("messages[*].content", "Hi?\n\nHo."),
        ("messages[1].content", "Ho."),
        ("meta.t", "T"),
        ("messages", None),
        ("id", None),
    ],
)
def test_paths_into_nested_records(tmp_path: Path, path: str, text: str | None) -> None:
    pq.write_table(pa.Table.from_pylist([CHAT]), tmp_path / "a.parquet")
    for name, data in (
        ("a.jsonl", json.dumps(CHAT).encode()),
        ("a.json", json.dumps([CHAT], indent=1).encode()),
        ("a.parquet", (tmp_path / "a.parquet").read_bytes()),
    ):
        if text is None:
            with pytest.raises(SourceError, match=r"string\. Remedy: set corpus\.source\.text_column"):
                read(tmp_path, name, data, text_column=path)
        else:
            (found,) = read(tmp_path, name, data, text_column=path, id_column="id")
            assert (found.text, found.doc_id) == (text, "7")


def test_a_list_in_a_later_record_is_counted(tmp_path: Path) -> None:
    """As text it would be JSON or Python code."""
    found = read(tmp_path, "a.jsonl", b'{"text": "a"}\n{"text": ["x", "y"]}\n{"text": {"x": 1}}\n{"text": true}\n')
    assert [r.text or r.reason for r in found] == ["a"] + ["text_is_no_string"] * 3
    pair = b'{"text": "a", "answer": "b"}\n{"text": "a", "answer": ["b"]}\n'
    assert [r.reason for r in read(tmp_path, "b.jsonl", pair, completion_column="answer")] == [
        None,
        "text_is_no_string",
    ]


def test_directories_of_hugging_face_datasets(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b"], "n": [1, 2]})
    (tmp_path / "train").mkdir()
    with (
        pa.OSFile(str(tmp_path / "train/data-00000-of-00001.arrow"), "wb") as file,
        pa.ipc.new_stream(file, table.schema) as out,
    ):
        out.write_table(table)
    with pa.OSFile(str(tmp_path / "train/cache.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as out:
        out.write_table(table)
    for name in ("dataset_dict.json", "train/state.json", "train/dataset_info.json"):
        (tmp_path / name).write_text("{}")
    with resolved(SourceConfig(uri=str(tmp_path)), tmp_path) as source:
        assert source.format == "arrow" and len(source.left_out) == 3
    for name in ("data-00000-of-00001.arrow", "cache.arrow"):
        assert texts(read(tmp_path, "a.arrow", (tmp_path / "train" / name).read_bytes())) == ["a", "b"]


def warc(kind: str, body: bytes, **headers: str) -> bytes:
    lines = {
        "WARC-Type": kind,
        "Content-Length": str(len(body)),
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    return b"WARC/1.0\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items()).encode() + b"\r\n" + body + b"\r\n\r\n"


def http(body: bytes, *headers: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", *headers, "", ""]).encode() + body


WET = [
    warc("warcinfo", b"Software: x\r\n"),
    warc("conversion", "Caf\u00e9 noir".encode(), WARC_Target_URI="http://a/", Content_Type="text/plain"),
    warc("conversion", b"More", WARC_Target_URI="http://b/", Content_Type="text/plain"),
]
PAGES = [
    warc("request", b"GET / HTTP/1.1\r\n\r\n", WARC_Target_URI="http://a/"),
    warc(
        "response",
        http("<p>Маяк".encode("cp1251"), "Content-Type: text/html; charset=windows-1251"),
        WARC_Target_URI="http://a/",
    ),
    warc(
        "response",
        http(b"5\r\n<p>On\r\n3\r\nce.\r\n0\r\n\r\n", "Content-Type: text/html", "Transfer-Encoding: chunked"),
        WARC_Target_URI="http://b/",
    ),
    warc(
        "response",
        http(gzip.compress(b"<p>Twice"), "Content-Type: text/html", "Content-Encoding: gzip"),
        WARC_Target_URI="http://c/",
    ),
    warc("response", http(b"\x89PNG", "Content-Type: image/png"), WARC_Target_URI="http://d/"),
    warc("metadata", b"fetchTimeMs: 5\r\n"),
]


@pytest.mark.parametrize("each", [True, False])
def test_web_archives(tmp_path: Path, each: bool) -> None:
    def packed(parts: list[bytes]) -> bytes:
        return b"".join(map(gzip.compress, parts)) if each else gzip.compress(b"".join(parts))

    found = read(tmp_path, "CC-MAIN.warc.wet.gz", packed(WET))
    assert [(r.doc_id, r.text) for r in found] == [("http://a/", "Caf\u00e9 noir"), ("http://b/", "More")]
    found = read(tmp_path, "CC-MAIN.warc.gz", packed(PAGES))
    assert [(r.doc_id, r.text or r.reason) for r in found] == [
        *(("http://a/", "Маяк"), ("http://b/", "Once."), ("http://c/", "Twice"), ("http://d/", "no_text"))
    ]
    assert sum(r.raw_bytes for r in found) == sum(map(len, PAGES))


def test_a_web_archive_that_breaks_goes_on_at_the_next_record(tmp_path: Path) -> None:
    data = WET[1] + b"garbage\r\nmore of it\r\n" + WET[2]
    found = read(tmp_path, "a.wet", data)
    assert [r.text or r.reason for r in found] == ["Caf\u00e9 noir", "malformed_record", "More"]
    assert found[1].lost_bytes == len("garbage\r\nmore of it\r\n") and sum(r.raw_bytes for r in found) == len(data)
    with pytest.raises(SourceError, match="damaged or cut short"):
        read(tmp_path, "a.wet", data[:-20])
    with pytest.raises(SourceError, match="does not begin with `WARC/`"):
        read(tmp_path, "a.warc", b"no archive")


def test_mailboxes(tmp_path: Path) -> None:
    box = (
        "From jane Thu Jan  1 00:00:00 2026\nMessage-ID: <1@x>\nContent-Type: text/plain; charset=iso-8859-1\n"
        "Content-Transfer-Encoding: quoted-printable\n\nCaf=E9\n\n>From here on\n\n"
        "From joe Thu Jan  1 00:00:00 2026\nMessage-ID: <2@x>\nContent-Type: multipart/alternative; boundary=B\n\n"
        "--B\nContent-Type: text/plain\n\nPlain\n--B\nContent-Type: text/html\n\n<p>Rich\n--B--\n\n"
        "From jim Thu Jan  1 00:00:00 2026\nContent-Type: text/html\n\n<p>Only <b>rich</b></p>\n"
    )
    found = read(tmp_path, "a.mbox", box.encode())
    assert [(r.doc_id, (r.text or "").strip()) for r in found] == [
        *(("1@x", "Caf\u00e9\n\nFrom here on"), ("2@x", "Plain"), ("message 3", "Only rich"))
    ]
    assert sum(r.raw_bytes for r in found) == len(box)


def test_e_books(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as book:
        book.writestr("mimetype", "application/epub+zip")
        book.writestr(
            "META-INF/container.xml",
            '<container><rootfiles><rootfile full-path="O/c.opf" media-type="x"/></rootfiles></container>',
        )
        book.writestr(
            "O/c.opf",
            '<package><manifest><item id="n" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>'
            '<item id="b" href="b%20c.xhtml" media-type="application/xhtml+xml"/><item href="a.xhtml" id="a" '
            'media-type="application/xhtml+xml"/></manifest><spine><itemref idref="n"/><itemref idref="a"/><itemref idref="b"/></spine></package>',
        )
        for name, text in (("nav", "Contents"), ("a", "Chapter 10<sup>6</sup>"), ("b c", "Caf\u00e9")):
            book.writestr(f"O/{name}.xhtml", f"<html><body><p>{text}</p></body></html>")
    (found,) = read(tmp_path, "a.epub", out.getvalue())
    assert found.text == "Chapter 10^6\n\nCaf\u00e9"


def test_notebooks(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Head\n", "So $a*b*c$."]},
        {"cell_type": "code", "source": "x = a*b*c\n", "outputs": [{"text": "secret"}]},
    ]
    (found,) = read(tmp_path, "a.ipynb", json.dumps({"cells": cells, "nbformat": 4}).encode())
    assert found.text == "Head\n\nSo $a*b*c$.\n\nx = a*b*c"


@pytest.mark.parametrize("name", ["a.py", "a.CPP", "a.rs.gz", "a.tex", "a.log", "Main.java"])
def test_code_is_read_as_it_stands(tmp_path: Path, name: str) -> None:
    code = b"def f(x):\n\treturn x**2 # $y$\n"
    (found,) = read(tmp_path, name, gzip.compress(code) if name.endswith("gz") else code)
    assert (found.text or "").encode() == code


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.jsonl", gzip.compress(LINES), r"a\.jsonl is packed by gzip\. Remedy: add \.gz to its name"),
        ("a.txt", zstandard.compress(b"x"), r"packed by zstd\. Remedy: add \.zst"),
        ("a.csv", lzma.compress(b"x"), r"packed by xz\. Remedy: add \.xz"),
        ("a.jsonl.gz", gzip.compress(gzip.compress(LINES)), "packed by gzip"),
        *(
            (
                name,
                b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n",
                "a pointer of Git LFS.*git lfs pull",
            )
            for name in ("a.parquet", "a.jsonl", "a.txt", "a.epub", "a.arrow", "a.warc")
        ),
        ("a.csv", b"PK\x03\x04xlsx", "a zip archive"),
        ("a.txt", b"%PDF-1.5", "a PDF"),
        ("a.jsonl", b"PAR1xx", r"a Parquet file\. Remedy: name it \.parquet"),
        ("a.jsonl", b'[{"text": "a"}]', r"no JSON object.*An array of objects is read from a \.json file"),
    ],
)
def test_files_that_are_not_what_their_names_say(tmp_path: Path, name: str, data: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError, match=told):
        check_source(SourceConfig(uri=str(tmp_path / name)), tmp_path)


@pytest.mark.parametrize("tag", ["<!--", "<script>", "<style>"])
def test_what_an_element_swallows_that_never_ends_is_lost_and_counted(tmp_path: Path, tag: str) -> None:
    rest = f"{tag} {'and all the rest of it ' * 20}"
    (found,) = read(tmp_path, "a.html", f"<p>before</p><script>x = '<!-- <title>'</script>{rest}".encode())
    assert found.lost_bytes == len(rest) and (found.text or "").startswith("before")
    (found,) = read(tmp_path, "a.html", f"<title>no end{rest.removeprefix(tag)}".encode())
    assert found.lost_bytes == found.raw_bytes and found.reason == "no_text"
    (found,) = read(tmp_path, "a.html", f"<p>before<textarea>{rest.removeprefix(tag)}".encode())
    assert found.lost_bytes == 0 and "all the rest" in (found.text or ""), "it is shown"
    (found,) = read(tmp_path, "a.html", b"<title>T</title><!-- a --><p>before</p><script>'<title'</script><p>after")
    assert found.lost_bytes == 0 and found.text == "before\n\nafter"
