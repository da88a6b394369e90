"""Parsers of files of records: lines of JSON, rows of .csv and .parquet, each with the counts of its decoding."""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from etl.read.decoding import NO_COUNTS, Counts, counted, decoded, decoder, encoding_of, invalid_bytes, non_ascii_bytes
from etl.read.files import MOST_RECORD_BYTES, UNCUTTABLE, WINDOW_BYTES, Part, chunks, head_of, opened
from handoff.store import resolve

MALFORMED, TOO_LONG = "malformed_record", "record_too_long"
BATCH_ROWS = 256  # of .parquet, decoded at a time
JSON_BLANKS = " \t\r\n"


def encoding_in(first: bytes, part: Part, configured: str) -> tuple[str, int]:
    """Encoding of a part whose first bytes are given, and bytes of a byte order mark among them."""
    return (head_of(part.file, configured)[1], 0) if part.start else encoding_of(first, configured)


def _lines(stream: IO[bytes], part: Part, configured: str) -> Iterator[tuple[str | None, Counts]]:
    """Lines with their counts; None for a line that is longer than MOST_RECORD_BYTES."""
    rest, skipped, encoding = b"", 0, ""
    decode = None
    for data in chunks(stream, part):
        if not encoding:
            encoding, mark = encoding_in(data, part, configured)
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
    counts = counted(line, before)
    return text, counts._replace(raw_bytes=counts.raw_bytes + end)


def json_values(line: str) -> Iterator[Any]:
    """The JSON values of a line, which may be several; None for the first invalid one, after which the line is left."""
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
    """The objects of a .jsonl file's part; None, with the reason, for a line or value that is no object."""
    with opened(part) as stream:
        for line, counts in _lines(stream, part, configured):
            if line is None:
                yield None, TOO_LONG, counts
            elif line.strip(JSON_BLANKS):
                for value in json_values(line):
                    found = (value, None) if isinstance(value, dict) else (None, MALFORMED)
                    yield *found, counts
                    counts = NO_COUNTS  # the line's further values have no bytes of their own


class _Unpacked(io.RawIOBase):
    """A stream for Python's text layer that counts what is read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.counts = NO_COUNTS

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self.counts += Counts(len(data), 0, non_ascii_bytes(data))
        return len(data)


def csv_rows(part: Part, configured: str) -> Iterator[tuple[list[str] | None, Counts]]:
    """The header and the records of a .csv file (RFC 4180); None for one with a quotation mark in a wrong place."""
    csv.field_size_limit(MOST_RECORD_BYTES)
    with opened(part) as stream:
        source = _Unpacked(stream)
        buffered = io.BufferedReader(source, WINDOW_BYTES)
        encoding, mark = encoding_of(buffered.peek(WINDOW_BYTES), configured)
        buffered.read(mark)
        lines = io.TextIOWrapper(buffered, encoding, errors="baton.replaced", newline="")
        rows, before, known = csv.reader(lines, strict=True), invalid_bytes(), NO_COUNTS
        while True:
            try:
                row = next(rows, ())
            except csv.Error:
                row = None
            now = source.counts._replace(invalid=invalid_bytes() - before)
            counts, known = Counts(*(a - b for a, b in zip(now, known, strict=True))), now
            if row == ():
                return
            yield row, counts if counts.invalid else counts._replace(non_ascii=0)  # type: ignore[misc]


def parquet_rows(part: Part, names: Sequence[str]) -> Iterator[tuple[list[str | None], Counts]]:
    """The named columns of the part's row groups, as text."""
    filesystem, path = resolve(part.file.uri)
    with pq.ParquetFile(path, filesystem=filesystem) as file:
        groups = range(part.start, file.num_row_groups if part.end is None else part.end)
        for batch in file.iter_batches(BATCH_ROWS, row_groups=list(groups), columns=list(names), use_threads=False):
            for values in zip(*(_bytes_of(batch.column(name)) for name in names), strict=True):
                before = invalid_bytes()
                texts = [None if value is None else decoded(value, "utf-8") for value in values]
                yield texts, counted(b"".join(value for value in values if value is not None), before)


def _bytes_of(column: pa.Array) -> list[bytes | None]:
    """A column of strings or integers as bytes, which should be UTF-8 but need not be."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_integer(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    return column.cast(pa.large_binary()).to_pylist()  # type: ignore[no-any-return]
