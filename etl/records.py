"""Parts of raw files → records, in Python: a text file is one document, in files of records each record is one.

What cannot be used is a record too, with its reason; whatever is not given on is counted.
"""

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from etl import markup, pairs
from etl.config import SourceConfig
from etl.raw_file import (
    MOST_PAGE_BYTES,
    MOST_RECORD_BYTES,
    PART_BYTES,
    UNCUTTABLE,
    WINDOW_BYTES,
    Part,
    beyond_ascii,
    chunks,
    decoded,
    decoder,
    encoding_of,
    head_of,
    invalid_bytes,
    kind_of,
    opened,
    place_to_cut,
    reading,
)
from handoff.errors import SourceError
from handoff.store import resolve

MALFORMED, TOO_LONG, NO_TEXT, NO_ID = "malformed_record", "record_too_long", "no_text", "no_id"
UNREAD = (MALFORMED, TOO_LONG)
BATCH_ROWS = 256  # of .parquet, decoded at a time
JSON_BLANKS = " \t\r\n"


class Record(NamedTuple):
    """A document, or a part of a long one."""

    doc_id: str | None
    text: str | None
    reason: str | None = None  # why it is of no use
    part: int = 0
    raw_bytes: int = 0  # of the file, unpacked, that it was read from
    invalid: int = 0  # of these, not in the encoding
    beyond: int = 0  # where there are such, bytes beyond ASCII beside them
    markup_chars: int = 0  # tags, scripts and the like
    furniture_chars: int = 0  # navigation, buttons, footers


class Counts(NamedTuple):
    """Of bytes that were decoded: how many, how many not in the encoding, and then how many beyond ASCII."""

    raw_bytes: int
    invalid: int
    beyond: int

    def __add__(self, other: "Counts") -> "Counts":  # type: ignore[override]
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))


NOTHING = Counts(0, 0, 0)


def records(part: Part, config: SourceConfig) -> Iterator[Record]:
    """The part's records.

    Raises:
        SourceError: the file is gone or damaged, or a page too large to be taken apart.
    """
    read = {"txt": _texts, "markup": _page, "jsonl": _json_lines, "csv": _csv, "parquet": _parquet}
    format_ = kind_of(part.file.name)[0]
    assert format_ is not None
    with reading(part.file):
        yield from read[format_](part, config)


def _counted(data: bytes, invalid_before: int) -> Counts:
    invalid = invalid_bytes() - invalid_before
    return Counts(len(data), invalid, beyond_ascii(data) if invalid else 0)


def _encoding(first: bytes, part: Part, configured: str) -> tuple[str, int]:
    """Encoding of a part whose first bytes are given, and bytes of a byte order mark among them."""
    return (head_of(part.file, configured)[1], 0) if part.start else encoding_of(first, configured)


def _decoded_chunks(stream: IO[bytes], part: Part, configured: str) -> Iterator[tuple[str, Counts]]:
    decode = None
    for data in chunks(stream, part):
        before, mark = invalid_bytes(), 0
        if decode is None:
            encoding, mark = _encoding(data, part, configured)
            decode = decoder(encoding).decode
        yield decode(data[mark:]), _counted(data, before)
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
    text, counts, number = "", NOTHING, part.number
    with opened(part) as stream:
        for more, counted in _decoded_chunks(stream, part, config.encoding):
            text, counts = text + more, counts + counted
            *whole, rest = pieces(text) if part.end is None else [text]
            for piece in whole:
                yield _text(part, piece, number, counts)
                text, counts, number = rest, NOTHING, number + 1
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
    counts = _counted(data, before)
    page = (markup.markdown_page if ".md" in name[-7:] else markup.html_page)(source)
    outside = len(source) - len(page.text) - page.furniture_chars
    for number, piece in enumerate(pieces(page.text)):
        left_out = (0, 0) if number else (outside, page.furniture_chars)
        yield _text(part, piece, number, NOTHING if number else counts)._replace(
            markup_chars=left_out[0], furniture_chars=left_out[1]
        )


def too_large_a_page(uri: str) -> str:
    most = MOST_PAGE_BYTES >> 20
    return f"{uri} has more than {most} MiB, too much for one page. Remedy: split it, or give its text as .txt"


def _lines(stream: IO[bytes], part: Part, configured: str) -> Iterator[tuple[str | None, Counts]]:
    """Lines with what was counted; None in the place of one that is longer than MOST_RECORD_BYTES."""
    rest, skipped, encoding = b"", 0, ""
    decode = None
    for data in chunks(stream, part):
        if not encoding:
            encoding, mark = _encoding(data, part, configured)
            data = data[mark:]
            if encoding.startswith(UNCUTTABLE):  # its line ends are found in UTF-8
                decode, encoding = decoder(encoding).decode, "utf-8"
        if decode is not None:
            data = decode(data).encode()
        first, *others = data.split(b"\n")
        *whole, rest = [rest + first, *others]
        for line in whole:
            yield _line(line, encoding, skipped, 1)
            skipped = 0
        if len(rest) > MOST_RECORD_BYTES:
            rest, skipped = b"", skipped + len(rest)
    if rest or skipped:
        yield _line(rest, encoding, skipped, 0)


def _line(line: bytes, encoding: str, skipped: int, end: int) -> tuple[str | None, Counts]:
    if skipped:
        return None, Counts(skipped + len(line) + end, 0, 0)
    before = invalid_bytes()
    text = decoded(line, encoding)
    counts = _counted(line, before)
    return text, counts._replace(raw_bytes=counts.raw_bytes + end)


def json_values(line: str) -> Iterator[Any]:
    """The JSON values of a line, of which there may be several; None for what is none, and nothing behind it."""
    try:
        yield json.loads(line)
    except (ValueError, RecursionError):
        decode, blanks, at = json.JSONDecoder().raw_decode, re.compile(f"[{JSON_BLANKS}]*"), 0
        while (at := blanks.match(line, at).end()) < len(line):  # type: ignore[union-attr]
            try:
                value, at = decode(line, at)
            except (ValueError, RecursionError):
                yield None
                return
            yield value


def json_objects(part: Part, configured: str) -> Iterator[tuple[dict[str, Any] | None, str | None, Counts]]:
    """The objects of a .jsonl file's part; None, with the reason, for a line or value that is none."""
    with opened(part) as stream:
        for line, counts in _lines(stream, part, configured):
            if line is None:
                yield None, TOO_LONG, counts
            elif line.strip(JSON_BLANKS):
                for value in json_values(line):
                    found = (value, None) if isinstance(value, dict) else (None, MALFORMED)
                    yield *found, counts
                    counts = NOTHING  # the line's further values have no bytes of their own


def _json_lines(part: Part, config: SourceConfig) -> Iterator[Record]:
    for value, reason, counts in json_objects(part, config.encoding):
        if value is None:
            yield Record(None, None, reason, 0, *counts)
        else:
            yield from _documents({name: _as_text(value.get(name)) for name in columns_of(config)}, counts, config)


def _as_text(value: Any) -> str | None:
    """A string as it is; a number or an object in its place as JSON, and left to the quality rules."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


class _Unpacked(io.RawIOBase):
    """A stream for Python's text layer that counts what is read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.counts = NOTHING

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self.counts += Counts(len(data), 0, beyond_ascii(data))
        return len(data)


def csv_rows(part: Part, configured: str) -> Iterator[tuple[list[str] | None, Counts]]:
    """The header and the records of a .csv file (RFC 4180); None for one with a quotation mark in a wrong place."""
    csv.field_size_limit(MOST_RECORD_BYTES)
    with opened(part) as stream:
        counted = _Unpacked(stream)
        buffered = io.BufferedReader(counted, WINDOW_BYTES)
        encoding, mark = encoding_of(buffered.peek(WINDOW_BYTES), configured)
        buffered.read(mark)
        lines = io.TextIOWrapper(buffered, encoding, errors="baton.replaced", newline="")
        rows, before, known = csv.reader(lines, strict=True), invalid_bytes(), NOTHING
        while True:
            try:
                row = next(rows, ())
            except csv.Error:
                row = None
            now = counted.counts._replace(invalid=invalid_bytes() - before)
            counts, known = Counts(*(a - b for a, b in zip(now, known, strict=True))), now
            if row == ():
                return
            yield row, counts if counts.invalid else counts._replace(beyond=0)  # type: ignore[misc]


def _csv(part: Part, config: SourceConfig) -> Iterator[Record]:
    rows = csv_rows(part, config.encoding)
    header, counts = next(rows, (None, NOTHING))
    for row, counted in rows:
        counts += counted
        if row is None or (row and len(row) != len(header or ())):
            yield Record(None, None, MALFORMED, 0, *counts)
        elif row:
            values = dict(zip(header or (), row, strict=True))
            yield from _documents({name: values.get(name) for name in columns_of(config)}, counts, config)
        else:
            continue  # a blank line
        counts = NOTHING


def _parquet(part: Part, config: SourceConfig) -> Iterator[Record]:
    filesystem, path = resolve(part.file.uri)
    names = columns_of(config)
    with pq.ParquetFile(path, filesystem=filesystem) as file:
        groups = range(part.start, file.num_row_groups if part.end is None else part.end)
        for batch in file.iter_batches(BATCH_ROWS, row_groups=list(groups), columns=names, use_threads=False):
            columns = [_bytes_of(batch.column(name)) for name in names]
            for values in zip(*columns, strict=True):
                before = invalid_bytes()
                texts = [None if value is None else decoded(value, "utf-8") for value in values]
                data = b"".join(value for value in values if value is not None)
                yield from _documents(dict(zip(names, texts, strict=True)), _counted(data, before), config)


def _bytes_of(column: pa.Array) -> list[bytes | None]:
    """A column of strings or integers as UTF-8, which a writer may not have kept to."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_integer(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    return column.cast(pa.large_binary()).to_pylist()  # type: ignore[no-any-return]


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
    doc_id, text = (None if value is None else _whole_characters(value) for value in (doc_id, text))
    counts += Counts(0, invalid_bytes() - before, invalid_bytes() - before)
    if config.id_column is None and text is not None:
        doc_id = hashlib.sha256(text.encode()).hexdigest()
    reason = NO_TEXT if blank else NO_ID if doc_id is None else None
    for number, piece in enumerate(pieces(text) if text is not None and not config.paired else [text]):
        yield Record(doc_id, piece, reason, number, *(NOTHING if number else counts))


def _whole_characters(text: str) -> str:
    """A text without halves of surrogate pairs, which JSON can write and UTF-8 cannot; they count as invalid."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return decoded(text.encode("utf-16-le", "surrogatepass"), "utf-16-le")
    return text
