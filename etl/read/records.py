"""Parts of raw files → records, in Python: a text file is one document, in files of records each record is one.

An unusable record is kept with its reason and its place; whatever is dropped is counted.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from etl import pairs
from etl.config import SourceConfig
from etl.read.archives import Found, mbox_messages, warc_records
from etl.read.bounded import TooHard, parsed
from etl.read.decoding import (
    NO_COUNTS,
    Counts,
    counted,
    decoded,
    encoding_named,
    encoding_of,
    invalid_bytes,
    page_encoding,
)
from etl.read.delimited import csv_rows
from etl.read.files import (
    MOST_PAGE_BYTES,
    PART_BYTES,
    WINDOW_BYTES,
    Format,
    Part,
    kind_of,
    opened,
    place_to_cut,
    reading,
)
from etl.read.lines import MALFORMED, NOT_PARSED, TOO_LONG
from etl.read.structured import Json, arrow_rows, decoded_chunks, json_document, json_objects, parquet_rows, value_at
from handoff.errors import ConfigError, SourceError

NO_TEXT, NO_ID, NO_STRING = "no_text", "no_id", "text_is_no_string"
UNREAD = (MALFORMED, TOO_LONG, NO_STRING, NOT_PARSED)


class Record(NamedTuple):
    """A document, or a part of a long one; of one that could not be read ``doc_id`` is the file and the place in it."""

    doc_id: str | None
    text: str | None
    reason: str | None = None  # why it is of no use
    part: int = 0
    raw_bytes: int = 0  # of the file, unpacked, that it was read from
    invalid: int = 0  # of these, bytes not in the encoding
    non_ascii: int = 0  # if any are invalid: bytes beyond ASCII
    markup_chars: int = 0  # tags, scripts and the like
    boilerplate_chars: int = 0  # navigation, buttons, footers, hidden parts
    lost_bytes: int = 0  # that could not be read


def records(part: Part, config: SourceConfig) -> Iterator[Record]:
    """The part's records.

    Raises:
        SourceError: the file is gone or damaged, or a page is too large to parse.
    """
    format_ = kind_of(part.file.name)[0]
    assert format_ is not None
    with reading(part.file):
        yield from READERS[format_](part, config)


def _unread(part: Part, where: str, reason: str, counts: Counts, lost: int | None = None) -> Record:
    return Record(
        f"{part.file.name}: {where}", None, reason, 0, *counts, lost_bytes=counts.raw_bytes if lost is None else lost
    )


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
        for piece_of_it, more in decoded_chunks(stream, part, config.encoding):
            text, counts = text + piece_of_it, counts + more
            *whole, rest = pieces(text) if part.end is None else [text]
            for piece in whole:
                yield _text(part.file.name, piece, number, counts)
                text, counts, number = rest, NO_COUNTS, number + 1
    if text or number == part.number:
        yield _text(part.file.name, text, number, counts)


def _text(doc_id: str, text: str, number: int, counts: Counts) -> Record:
    return Record(doc_id, text, None if text.strip() else NO_TEXT, number, *counts)


def _page(part: Part, config: SourceConfig) -> Iterator[Record]:
    name = part.file.name.lower()
    with opened(part) as stream:
        data = stream.read(MOST_PAGE_BYTES + 1)
    if len(data) > MOST_PAGE_BYTES:
        raise SourceError(too_large_a_page(part.file.uri))
    if name.endswith(".epub"):
        yield from _parsed(part, part.file.name, "epub", data, Counts(len(data), 0, 0))
        return
    kind = (
        "notebook"
        if ".ipynb" in name[-10:]
        else "markdown"
        if ".md" in name[-8:] or ".markdown" in name[-14:]
        else "html"
    )
    yield from _decoded_page(part, part.file.name, kind, data, config.encoding)


def _decoded_page(
    part: Part, doc_id: str, kind: str, data: bytes, configured: str, raw: int | None = None
) -> Iterator[Record]:
    encoding, mark = page_encoding(data, configured) if kind == "html" else encoding_of(data, configured)
    before = invalid_bytes()
    source = decoded(data[mark:], encoding)
    counts = counted(data, before)
    yield from _parsed(part, doc_id, kind, source, counts if raw is None else counts._replace(raw_bytes=raw))


def _parsed(part: Part, doc_id: str, kind: str, source: Any, counts: Counts) -> Iterator[Record]:
    """The record of a page, or the reject that says why it could not be parsed."""
    try:
        page = parsed(kind, source)
    except TooHard as error:
        where = f"{error}" if doc_id == part.file.name else f"{doc_id}: {error}"
        yield _unread(part, where, NOT_PARSED, counts, len(source))
        return
    size = len(page.text) + page.boilerplate_chars if isinstance(source, bytes) else len(source)
    outside = size - len(page.text) - page.boilerplate_chars
    for number, piece in enumerate(pieces(page.text)):
        record = _text(doc_id, piece, number, NO_COUNTS if number else counts)
        yield (
            record
            if number
            else record._replace(
                markup_chars=outside, boilerplate_chars=page.boilerplate_chars, lost_bytes=page.swallowed
            )
        )


def _archive(part: Part, config: SourceConfig, found: Iterator[Found]) -> Iterator[Record]:
    for item in found:
        counts = Counts(item.raw_bytes, 0, 0)
        if item.reason:
            yield _unread(part, item.doc_id or "", item.reason, counts, item.lost_bytes)
        elif item.kind == "html":
            configured = _charset(item.charset, config)
            yield from _decoded_page(part, item.doc_id or part.file.name, "html", item.data, configured, item.raw_bytes)
        elif item.doc_id is not None:
            before = invalid_bytes()
            encoding, mark = page_encoding(item.data, _charset(item.charset, config))
            text = decoded(item.data[mark:], encoding)
            counts = counted(item.data, before)._replace(raw_bytes=item.raw_bytes)
            for number, piece in enumerate(pieces(text)):
                yield _text(item.doc_id, piece, number, NO_COUNTS if number else counts)


def _charset(named: str | None, config: SourceConfig) -> str:
    try:
        return encoding_named(named) if named else config.encoding
    except ConfigError:
        return config.encoding


def too_large_a_page(uri: str) -> str:
    most = MOST_PAGE_BYTES >> 20
    return f"{uri} has more than {most} MiB, too much for one page. Remedy: split it, or give its text as .txt"


def _json(part: Part, config: SourceConfig, found: Iterator[Json]) -> Iterator[Record]:
    names = columns_of(config)
    for value, counts, reason, where, lost in found:
        if value is None:
            yield _unread(part, where, reason, counts, lost)
        else:
            yield from _documents(part, {name: value_at(value, name) for name in names}, counts, config)


def _csv(part: Part, config: SourceConfig) -> Iterator[Record]:
    names = columns_of(config)
    rows = csv_rows(part, config.encoding, names)
    first = next(rows, None)
    if first is None:
        return
    header, counts = [name.strip() for name in first.fields or ()], first.counts
    for row in rows:
        counts += row.counts
        if row.fields is None:
            yield _unread(part, row.fault, row.reason, counts, row.counts.raw_bytes)
        elif row.fields:
            values = dict(zip(header, row.fields, strict=True))
            yield from _documents(part, {name: values.get(name) for name in names}, counts, config)
        else:
            continue  # a blank line
        counts = NO_COUNTS


def _table(
    part: Part, config: SourceConfig, rows: Callable[..., Iterator[tuple[list[Any], Counts]]]
) -> Iterator[Record]:
    names = columns_of(config)
    for values, counts in rows(part, names):
        yield from _documents(part, dict(zip(names, values, strict=True)), counts, config)


READERS: dict[Format, Callable[[Part, SourceConfig], Iterator[Record]]] = {
    "txt": _texts,
    "markup": _page,
    "book": _page,
    "jsonl": lambda part, config: _json(part, config, json_objects(part, config.encoding, columns_of(config))),
    "json": lambda part, config: _json(part, config, json_document(part, config.encoding, columns_of(config))),
    "csv": _csv,
    "parquet": lambda part, config: _table(part, config, parquet_rows),
    "arrow": lambda part, config: _table(part, config, arrow_rows),
    "warc": lambda part, config: _archive(part, config, warc_records(part)),
    "mbox": lambda part, config: _archive(part, config, mbox_messages(part)),
}


def columns_of(config: SourceConfig) -> list[str]:
    """The columns that are read, each once."""
    named = (config.text_column, config.completion_column, config.id_column)
    return list(dict.fromkeys(name for name in named if name is not None))


def as_text(value: Any, path: str) -> tuple[str | None, bool]:
    """The text of a value and whether it is one: a string, or the strings of a list that a path with ``[*]`` names.

    Numbers, objects and other lists are none: as text they would be JSON or Python code.
    """
    if value is None or isinstance(value, str):
        return value, True
    if isinstance(value, list) and "[*]" in path and all(item is None or isinstance(item, str) for item in value):
        return "\n\n".join(item for item in value if item and item.strip()), True
    return None, False


def _documents(part: Part, values: dict[str, Any], counts: Counts, config: SourceConfig) -> Iterator[Record]:
    """The record of one document, in parts where its text is long."""
    text, is_string = as_text(values[config.text_column], config.text_column)
    blank = text is None or not text.strip()
    if config.completion_column is not None:
        completion, is_string_too = as_text(values[config.completion_column], config.completion_column)
        is_string &= is_string_too
        blank = blank or completion is None or not completion.strip()
        text = None if blank else pairs.joined(text or "", completion or "")
    given = values[config.id_column] if config.id_column else None
    doc_id = given if given is None or isinstance(given, str) else json.dumps(given, ensure_ascii=False, default=str)
    before = invalid_bytes()
    doc_id, text = (None if value is None else _without_lone_surrogates(value) for value in (doc_id, text))
    counts += Counts(0, invalid_bytes() - before, invalid_bytes() - before)
    if not is_string:
        yield _unread(part, f"record {doc_id}" if doc_id else "a record", NO_STRING, counts)
        return
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
