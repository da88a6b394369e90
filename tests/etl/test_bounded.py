"""One page or record costs itself at most: parsing it has bounds of CPU time and memory, and then it is a counted reject."""

import json
import os
import signal
from pathlib import Path

import pytest

from etl.read import bounded
from tests.etl.test_files import read

NESTED = "<div>" * 60_000 + "deep"  # 11 s in Lexbor


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "CPU_SECONDS", 0.5)


def test_a_page_that_takes_too_long_is_a_reject_and_the_next_one_is_read(tmp_path: Path, hasty: None) -> None:
    (slow,) = read(tmp_path, "slow.html", NESTED.encode())
    assert (slow.text, slow.reason, slow.lost_bytes, slow.raw_bytes) == (
        None,
        "record_not_parsed",
        len(NESTED),
        len(NESTED),
    )
    assert (slow.doc_id or "").startswith("slow.html: parsing it took more than 0.5")
    (fine,) = read(tmp_path, "fine.html", b"<p>fine")
    assert fine.text == "fine"


def test_a_page_in_a_web_archive_is_named_with_its_address(tmp_path: Path, hasty: None) -> None:
    def record(address: str, page: str) -> str:
        body = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n{page}"
        head = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {address}\r\nContent-Length: {len(body)}\r\n\r\n"
        return f"{head}{body}\r\n\r\n"

    found = read(tmp_path, "a.warc", (record("http://a", NESTED) + record("http://b", "<p>fine")).encode())
    assert [(r.doc_id or "")[:18] for r in found] == ["a.warc: http://a: ", "http://b"] and found[1].text == "fine"


@pytest.mark.parametrize(
    "page",
    [
        "<p>Name</p><select>" + "<option>name</option>" * 16_000 + "</select>",
        "<ul>" + "<li>item" * 50_000,
        "<p>" + "<b>" * 300 + "bold" + "<p>more" * 300,
        "<blockquote>" * 400 + "<footer>who</footer>" * 400,
        "<p>" + "x<sup>2</sup>" * 20_000,
        "<p>all of it is seen but the odd letter " + "<i>seen</i><span hidden>x<b hidden>y</b></span>" * 20_000,
    ],
)
def test_large_pages_of_odd_shapes_are_read(tmp_path: Path, page: str) -> None:
    """Each within the bounds of every page: `<select>` with 16,000 options took 18 s."""
    (record,) = read(tmp_path, "a.html", page.encode())
    assert record.reason is None and record.text


def test_a_parser_that_dies_or_runs_out_of_memory_costs_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bounded.parsed("html", "<p>a").text == "a"
    child = bounded._children[os.getpid()]
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert bounded.parsed("html", "<p>b").text == "b"
    monkeypatch.setattr(bounded, "MEMORY_BYTES", 32 << 20)
    monkeypatch.setattr(bounded, "_children", {})
    with pytest.raises(bounded.TooHard, match=r"took more than 32 MiB of memory|its parser was ended"):
        bounded.parsed("html", "<p>text" * 4_000_000)
    assert bounded.parsed("html", "<p>c").text == "c"
    with pytest.raises(bounded.TooHard, match="BadZipFile"):
        bounded.parsed("epub", b"no zip")


def test_a_long_line_of_json_is_parsed_with_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 12 MB of empty objects Python makes 400 MB of them."""
    monkeypatch.setattr(bounded, "MEMORY_BYTES", 128 << 20)
    monkeypatch.setattr(bounded, "_children", {})
    lines = [
        json.dumps({"text": "first"}),
        json.dumps({"text": "long", "other": "x" * 5_000_000}),
        '{"text": "bomb", "other": [' + "{}," * 4_000_000 + "{}]}",
        json.dumps({"text": "last"}),
    ]
    found = read(tmp_path, "a.jsonl", "\n".join(lines).encode())
    assert [r.text or r.reason for r in found] == ["first", "long", "record_not_parsed", "last"]
    assert found[2].lost_bytes == len(lines[2]) + 1 and "a.jsonl: byte" in (found[2].doc_id or "")
