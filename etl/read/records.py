"""Parts of raw files → records, in Python: a text file is one document, in files of records each record is one.

An unusable record is kept with its reason; whatever is dropped is counted.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from etl import pairs
from etl.config import SourceConfig
from etl.read import markup
from etl.read.decoding import NO_COUNTS, Counts, counted, decoded, decoder, encoding_of, invalid_bytes
from etl.read.files import (
    MOST_PAGE_BYTES,
    PART_BYTES,
    WINDOW_BYTES,
    Part,
    chunks,
    kind_of,
    opened,
    place_to_cut,
    reading,
)
from etl.read.structured import MALFORMED, TOO_LONG, csv_rows, encoding_in, json_objects, parquet_rows
from handoff.errors import SourceError

NO_TEXT, NO_ID = "no_text", "no_id"
UNREAD = (MALFORMED, TOO_LONG)


class Record(NamedTuple):
    """A document, or a part of a long one."""

    doc_id: str | None
    text: str | None
    reason: str | None = None  # why it is of no use
    part: int = 0
    raw_bytes: int = 0  # of the file, unpacked, that it was read from
    invalid: int = 0  # of these, bytes not in the encoding
    non_ascii: int = 0  # if any are invalid: bytes beyond ASCII
    markup_chars: int = 0  # tags, scripts and the like
    boilerplate_chars: int = 0  # navigation, buttons, footers


def records(part: Part, config: SourceConfig) -> Iterator[Record]:
    """The part's records.

    Raises:
        SourceError: the file is gone or damaged, or a page is too large to parse.
    """
    read = {"txt": _texts, "markup": _page, "jsonl": _json_lines, "csv": _csv, "parquet": _parquet}
    format_ = kind_of(part.file.name)[0]
    assert format_ is not None
    with reading(part.file):
        yield from read[format_](part, config)


def _decoded_chunks(stream: IO[bytes], part: Part, configured: str) -> Iterator[tuple[str, Counts]]:
    decode = None
    for data in chunks(stream, part):
        before, mark = invalid_bytes(), 0
        if decode is None:
            encoding, mark = encoding_in(data, part, configured)
            decode = decoder(encoding).decode
        yield decode(data[mark:]), counted(data, before)
    if decode is not None:
        before = invalid_bytes()
        rest = decode(b"", True)
        yield rest, Counts(0, invalid_bytes() - before, invalid_bytes() - before)


def pieces(text: str) -> Iterator[str]:
    """A long text cut behind paragraphs, lines or words, into pieces of about PART_BYTES characters."""
    at = 0
    while len(text) - at > PART_BYTES + WINDOW_BYTES:
        end = at + PART_BYTES
        end += place_to_cut(text[end : end + WINDOW_BYTES]) or 0
        yield text[at:end]
        at = end
    yield text[at:]


def _texts(part: Part, config: SourceConfig) -> Iterator[Record]:
    """A text file, or a part of it: one record; where it cannot be cut by its bytes, a record per PART_BYTES."""
    text, counts, number = "", NO_COUNTS, part.number
    with opened(part) as stream:
        for piece_of_it, more in _decoded_chunks(stream, part, config.encoding):
            text, counts = text + piece_of_it, counts + more
            *whole, rest = pieces(text) if part.end is None else [text]
            for piece in whole:
                yield _text(part, piece, number, counts)
                text, counts, number = rest, NO_COUNTS, number + 1
    if text or number == part.number:
        yield _text(part, text, number, counts)


def _text(part: Part, text: str, number: int, counts: Counts) -> Record:
    return Record(part.file.name, text, None if text.strip() else NO_TEXT, number, *counts)


def _page(part: Part, config: SourceConfig) -> Iterator[Record]:
    name = part.file.name.lower()
    with opened(part) as stream:
        data = stream.read(MOST_PAGE_BYTES + 1)
    if len(data) > MOST_PAGE_BYTES:
        raise SourceError(too_large_a_page(part.file.uri))
    encoding, mark = encoding_of(data, config.encoding)
    before = invalid_bytes()
    source = decoded(data[mark:], encoding)
    counts = counted(data, before)
    page = (markup.markdown_page if ".md" in name[-7:] else markup.html_page)(source)
    outside = len(source) - len(page.text) - page.boilerplate_chars
    for number, piece in enumerate(pieces(page.text)):
        left_out = (0, 0) if number else (outside, page.boilerplate_chars)
        yield _text(part, piece, number, NO_COUNTS if number else counts)._replace(
            markup_chars=left_out[0], boilerplate_chars=left_out[1]
        )


def too_large_a_page(uri: str) -> str:
    most = MOST_PAGE_BYTES >> 20
    return f"{uri} has more than {most} MiB, too much for one page. Remedy: split it, or give its text as .txt"


def _json_lines(part: Part, config: SourceConfig) -> Iterator[Record]:
    for value, reason, counts in json_objects(part, config.encoding):
        if value is None:
            yield Record(None, None, reason, 0, *counts)
        else:
            yield from _documents({name: _as_text(value.get(name)) for name in columns_of(config)}, counts, config)


def _as_text(value: Any) -> str | None:
    """A string as it is; a number or an object as JSON, which the quality rules judge."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _csv(part: Part, config: SourceConfig) -> Iterator[Record]:
    rows = csv_rows(part, config.encoding)
    header, counts = next(rows, (None, NO_COUNTS))
    for row, more in rows:
        counts += more
        if row is None or (row and len(row) != len(header or ())):
            yield Record(None, None, MALFORMED, 0, *counts)
        elif row:
            values = dict(zip(header or (), row, strict=True))
            yield from _documents({name: values.get(name) for name in columns_of(config)}, counts, config)
        else:
            continue  # a blank line
        counts = NO_COUNTS


def _parquet(part: Part, config: SourceConfig) -> Iterator[Record]:
    names = columns_of(config)
    for values, counts in parquet_rows(part, names):
        yield from _documents(dict(zip(names, values, strict=True)), counts, config)


def columns_of(config: SourceConfig) -> list[str]:
    """The columns that are read, each once."""
    named = (config.text_column, config.completion_column, config.id_column)
    return list(dict.fromkeys(name for name in named if name is not None))


def _documents(values: dict[str, str | None], counts: Counts, config: SourceConfig) -> Iterator[Record]:
    """The record of one document, in parts where its text is long."""
    text = values[config.text_column]
    blank = text is None or not text.strip()
    if config.completion_column is not None:
        completion = values[config.completion_column]
        blank = blank or completion is None or not completion.strip()
        text = None if blank else pairs.joined(text or "", completion or "")
    doc_id = values[config.id_column] if config.id_column else None
    before = invalid_bytes()
    doc_id, text = (None if value is None else _without_lone_surrogates(value) for value in (doc_id, text))
    counts += Counts(0, invalid_bytes() - before, invalid_bytes() - before)
    if config.id_column is None and text is not None:
        doc_id = hashlib.sha256(text.encode()).hexdigest()
    reason = NO_TEXT if blank else NO_ID if doc_id is None else None
    for number, piece in enumerate(pieces(text) if text is not None and not config.paired else [text]):
        yield Record(doc_id, piece, reason, number, *(NO_COUNTS if number else counts))


def _without_lone_surrogates(text: str) -> str:
    """The text without lone surrogates, which JSON can hold and UTF-8 cannot; they count as invalid bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return decoded(text.encode("utf-16-le", "surrogatepass"), "utf-16-le")
    return text
