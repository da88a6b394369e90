"""Records of web archives (.warc, .wet) and mailboxes (.mbox): each is a page or a text with an id of its own."""

import email
import email.policy
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from typing import IO, Literal, NamedTuple

from etl.read.files import MOST_PAGE_BYTES, Part, opened
from etl.read.lines import MALFORMED, TOO_LONG

HEADER_BYTES = 64 << 10


class Found(NamedTuple):
    """A page or text in its bytes; or none, with the reason."""

    doc_id: str | None
    kind: Literal["html", "text"] = "text"
    data: bytes = b""
    charset: str | None = None  # that its header names
    raw_bytes: int = 0  # of the file, since the last one
    reason: str | None = None
    lost_bytes: int = 0


def warc_records(part: Part) -> Iterator[Found]:
    """The pages and texts of a web archive (WARC 1.1, ISO 28500): `response`, `resource` and, in .wet, `conversion`.

    Requests and metadata are counted with the record before. After a broken record the next one is searched.
    """
    held = Found(None)  # its bytes are those up to the next one
    for found in _warc_parts(part):
        if held.doc_id is None or found.doc_id is None:
            held = (found if held.doc_id is None else held)._replace(raw_bytes=held.raw_bytes + found.raw_bytes)
        else:
            yield held
            held = found
    if held.doc_id is not None:
        yield held


def _warc_parts(part: Part) -> Iterator[Found]:
    """All that is in a web archive; without an id what is no document."""
    with opened(part) as raw_stream, io.BufferedReader(raw_stream) as stream:  # type: ignore[type-var]
        offset, line = 0, stream.readline(HEADER_BYTES)
        while line:
            if not line.strip():
                yield Found(None, raw_bytes=len(line))
                offset += len(line)
            elif not line.startswith(b"WARC/"):
                lost = len(line)
                while (line := stream.readline(HEADER_BYTES)) and not line.startswith(b"WARC/1"):
                    lost += len(line)
                yield Found(f"byte {offset:,}: no WARC record", raw_bytes=lost, reason=MALFORMED, lost_bytes=lost)
                offset += lost
                continue
            else:
                headers, size = _headers(stream)
                length = int(headers.get("content-length", "0"))
                data = stream.read(min(length, MOST_PAGE_BYTES + 1))
                rest = length - len(data)
                while rest > 0 and (skipped := stream.read(min(rest, 1 << 20))):
                    rest -= len(skipped)
                if rest > 0:
                    raise EOFError(f"it ends within a record of {length:,} bytes")
                raw = len(line) + size + length
                yield _of_warc(headers, data, length, f"byte {offset:,}")._replace(raw_bytes=raw)
                offset += raw
            line = stream.readline(HEADER_BYTES)


def _headers(stream: IO[bytes]) -> tuple[dict[str, str], int]:
    headers, size = {}, 0
    while line := stream.readline(HEADER_BYTES):
        size += len(line)
        if not line.strip():
            break
        name, _, value = line.decode("utf-8", "replace").partition(":")
        headers[name.strip().lower()] = value.strip()
    return headers, size


def _of_warc(headers: dict[str, str], data: bytes, length: int, where: str) -> Found:
    kind, doc_id = (
        headers.get("warc-type"),
        headers.get("warc-target-uri", "").strip("<>") or headers.get("warc-record-id", where),
    )
    if kind not in ("response", "resource", "conversion"):
        return Found(None)
    if length > MOST_PAGE_BYTES:
        return Found(f"{where}: {doc_id}", reason=TOO_LONG, lost_bytes=length)
    about = headers.get("content-type", "")
    if kind == "response" and data.startswith(b"HTTP/"):
        head, _, data = data.partition(b"\r\n\r\n")
        http = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
        }
        about = http.get("content-type", "")
        try:
            data = _plain(data, http)
        except (OSError, EOFError, zlib.error, ValueError) as error:
            return Found(f"{where}: {doc_id}: {error}", reason=MALFORMED, lost_bytes=length)
    charset = re.search(r"charset\s*=\s*[\"']?([\w.:-]+)", about, re.IGNORECASE)
    if re.match(r"text/html|application/xhtml", about):
        return Found(doc_id, "html", data, charset[1] if charset else None)
    if about.startswith("text/plain"):
        return Found(doc_id, "text", data, charset[1] if charset else None)
    return Found(doc_id, "text", b"")  # a picture or the like: it has no text, and is counted so


def _plain(data: bytes, http: dict[str, str]) -> bytes:
    """The body without HTTP's own packing (RFC 9112, section 7.1); Common Crawl has removed it, others have not."""
    if http.get("transfer-encoding", "").lower() == "chunked" and re.match(rb"[0-9a-fA-F]{1,8}[ ;\r]", data):
        pieces, at = [], 0
        while (size := int(data[at : (end := data.index(b"\n", at))].split(b";")[0], 16)) > 0:
            pieces.append(data[end + 1 : end + 1 + size])
            at = end + 1 + size + 2
        data = b"".join(pieces)
    packing = http.get("content-encoding", "").lower()
    if packing in ("gzip", "x-gzip") and data.startswith(b"\x1f\x8b"):
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
            data = packed.read(MOST_PAGE_BYTES)
    elif packing == "deflate" and data[:1] == b"\x78":
        data = zlib.decompressobj().decompress(data, MOST_PAGE_BYTES)
    return data


def mbox_messages(part: Part) -> Iterator[Found]:
    """The messages of a mailbox (RFC 4155): of each its plain text, else its HTML."""
    held: list[bytes] = []
    blank, size, number = True, 0, 0
    with opened(part) as raw_stream, io.BufferedReader(raw_stream) as stream:  # type: ignore[type-var]
        while line := stream.readline(1 << 20):
            if blank and line.startswith(b"From ") and held:
                yield _message(b"".join(held), size, number)
                held, size, number = [], 0, number + 1
            blank, size = not line.strip(b"\r\n"), size + len(line)
            if size <= MOST_PAGE_BYTES:
                held.append(line)
    if held:
        yield _message(b"".join(held), size, number)


def _message(data: bytes, size: int, number: int) -> Found:
    where = f"message {number + 1:,}"
    if size > MOST_PAGE_BYTES:
        return Found(where, raw_bytes=size, reason=TOO_LONG, lost_bytes=size)
    if not data.startswith(b"From "):
        return Found(f"{where}: no line of `From `", raw_bytes=size, reason=MALFORMED, lost_bytes=size)
    try:
        message = email.message_from_bytes(re.sub(rb"(?m)^>(>*From )", rb"\1", data), policy=email.policy.default)
        body = message.get_body(("plain", "html"))
        doc_id = (message.get("message-id") or where).strip("<> \t\r\n")
        if body is None:
            return Found(doc_id, raw_bytes=size)
        kind: Literal["html", "text"] = "html" if body.get_content_subtype() == "html" else "text"
        payload = body.get_payload(decode=True)
        assert isinstance(payload, bytes)
        return Found(doc_id, kind, payload, body.get_content_charset(), size)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, AssertionError) as error:
        return Found(f"{where}: {error}", raw_bytes=size, reason=MALFORMED, lost_bytes=size)
