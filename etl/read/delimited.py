"""Records of .csv and .tsv files. The dialect is found in the file's head. After a broken record reading goes on at the
next line that is a record, and every line between is counted.

One stray quotation mark would otherwise swallow all records up to the next one, or to the file's end.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from etl.read.decoding import NO_COUNTS, Counts, decoded, encoding_of
from etl.read.files import MOST_RECORD_BYTES, Part, opened
from etl.read.lines import MALFORMED, TOO_LONG, Line, lines_of

HEAD_BYTES = 1 << 20  # looked at for the dialect
MOST_CHARS = 16 << 20  # of a record: a quotation mark that closes later than that is taken for a stray one
LEARNT_ROWS = 200  # from which the kinds of a file's columns are known
LEAST_ROWS = 5
STRICT_LINES = 100  # after a broken record; then the number of fields is enough
DELIMITERS = ",;\t|"
Quotes = Literal["doubled", "backslash", "none"]


class Dialect(NamedTuple):
    delimiter: str
    quotes: Quotes  # how a quotation mark stands within a quoted field; `none`: no field is quoted


class Row(NamedTuple):
    """The fields of a record; none of a line that is skipped, with what is wrong and where."""

    fields: list[str] | None
    counts: Counts
    fault: str = ""
    reason: str = MALFORMED


class _TooLong(Exception):
    """No quotation mark closes the record."""


class _Shape:
    """What the fields of a file look like: what follows a broken record is a record if it looks the same."""

    def __init__(self, header: Sequence[str]) -> None:
        self.width = len(header)
        self._widest = [0] * self.width
        self._rows = self._quoted = 0

    @staticmethod
    def _kind(field: str) -> int:
        """Empty, a number, a word, a text."""
        if re.fullmatch(r"[+-]?[\d.,:/ T-]{1,32}|\s*", field):
            return 1 if field.strip() else 0
        return 2 if len(field) <= 64 and not re.search(r"\s", field) else 3

    def learn(self, fields: list[str], line: str) -> None:
        if self._rows < LEARNT_ROWS:
            self._rows += 1
            self._quoted += line.startswith('"')
            self._widest = [max(*pair) for pair in zip(self._widest, map(self._kind, fields), strict=True)]

    def fits(self, fields: list[str], line: str, delimiter: str) -> bool:
        if self._rows < LEAST_ROWS:
            return True
        if self._quoted == self._rows and not line.startswith('"'):
            return False
        if '"' in line and not line.startswith('"') and f'{delimiter}"' not in line:  # the end of a quoted field
            return False
        return all(self._kind(field) <= widest for field, widest in zip(fields, self._widest, strict=True))


def csv_rows(part: Part, configured: str, wanted: Sequence[str]) -> Iterator[Row]:
    """The header, then the file's records and skipped lines. Blank lines are empty rows.

    Args:
        wanted: columns that the header should have; they tell the delimiter.
    """
    with opened(part) as stream:
        head = stream.read(HEAD_BYTES)
    encoding, mark = encoding_of(head, configured)
    text = decoded(head[mark:], encoding)
    dialect = dialect_of(text, wanted, whole=len(head) < HEAD_BYTES, tabs=part.file.name.lower().find(".tsv") > 0)
    end = b"\r" if "\r" in text and "\n" not in text else b"\n"
    with opened(part) as stream:
        yield from rows_of(lines_of(stream, part, configured, end), dialect)


def dialect_of(head: str, wanted: Sequence[str], *, whole: bool = True, tabs: bool = False) -> Dialect:
    """The delimiter whose header has the wanted columns, and how quotation marks are written, by which fewest lines break."""
    lines = head.splitlines(keepends=True)
    lines = lines if whole or len(lines) < 2 else lines[:-1]
    order = sorted(DELIMITERS, key=lambda d: d != ("\t" if tabs else ","))
    headers = {d: next(csv.reader(lines[:1], delimiter=d), []) for d in order}
    named = next((d for d in order if set(wanted) <= {name.strip() for name in headers[d]}), None)
    delimiter = named or max(order, key=lambda d: len(headers[d]))
    found: list[Quotes] = ["doubled"]
    found += ["backslash"] if '\\"' in head else []
    found += ["none"] if delimiter == "\t" and _is_unquoted(lines) else []

    def broken(quotes: Quotes) -> int:
        told = (Line(line, NO_COUNTS, 0) for line in lines)
        return sum(row.fields is None for row in rows_of(told, Dialect(delimiter, quotes)))

    return Dialect(delimiter, min(found, key=broken) if len(found) > 1 else found[0])


def _is_unquoted(lines: Sequence[str]) -> bool:
    """Whether quotation marks at the beginning of tab-separated fields are seldom closed at their end."""
    opened_ = [field for line in lines for field in line.rstrip("\r\n").split("\t") if field.startswith('"')]
    return 2 * sum(len(field) > 1 and field.endswith('"') for field in opened_) < len(opened_)


def rows_of(lines: Iterator[Line], dialect: Dialect) -> Iterator[Row]:
    """As :func:`csv_rows`, of lines with their ends."""
    csv.field_size_limit(MOST_RECORD_BYTES)
    held: list[tuple[int, Line]] = []  # what the record in hand was read from
    again: deque[tuple[int, Line]] = deque()  # what comes before the next line
    numbered = enumerate(lines, 1)

    def feed() -> Iterator[str]:
        chars = 0
        while item := again.popleft() if again else next(numbered, None):
            chars = chars + len(item[1].text or "") if held else 0
            held.append(item)
            if item[1].text is None or chars > MOST_CHARS:
                raise _TooLong
            yield item[1].text

    def reader() -> Iterator[list[str]]:
        if dialect.quotes == "backslash":
            return _escaped_rows(feed(), dialect.delimiter)
        if dialect.quotes == "none":
            return csv.reader(feed(), delimiter=dialect.delimiter, quoting=csv.QUOTE_NONE, strict=True)
        return csv.reader(feed(), delimiter=dialect.delimiter, strict=True)

    rows, shape, skipped = reader(), None, 0
    while True:
        held.clear()
        fault = ""
        try:
            fields = next(rows, None)
        except (csv.Error, _TooLong) as error:
            fields, fault, rows = [], _told(error), reader()
        if not held:
            return
        first = held[0][1].text or ""
        if not fault and fields and shape is not None:
            if len(fields) != shape.width:
                fault = f"{len(fields)} fields, the header has {shape.width}"
            elif 0 < skipped <= STRICT_LINES and not shape.fits(fields, first, dialect.delimiter):
                fault = "follows a broken record"
        if not fault:
            assert fields is not None
            yield Row(fields, _sum(held))
            if shape is None:
                shape = _Shape(fields)
            elif fields:
                shape.learn(fields, first)
                skipped = 0
            continue
        number, line = held[0]
        again.extendleft(reversed(held[1:]))
        skipped += 1
        reason = TOO_LONG if line.text is None else MALFORMED
        yield Row(None, line.counts, f"line {number:,}, byte {line.offset:,}: {fault}", reason)


def _told(error: Exception) -> str:
    if isinstance(error, _TooLong) or "unexpected end of data" in str(error):
        return "a quotation mark is not closed"
    return str(error)


def _sum(held: list[tuple[int, Line]]) -> Counts:
    return held[0][1].counts if len(held) == 1 else sum((line.counts for _, line in held), NO_COUNTS)


_INSIDE = re.compile(r'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)


def _escaped_rows(lines: Iterator[str], delimiter: str) -> Iterator[list[str]]:
    r"""The records of Spark's and others' .csv files: ``\"`` and ``\\`` in quoted fields stand for ``"`` and ``\``.

    Python's reader would take the backslash from ``\alpha`` too.
    """
    for line in lines:
        fields: list[str] = []
        at, goes_on = 0, bool(line.strip("\r\n"))
        while goes_on:
            if line[at : at + 1] == '"':
                pieces, at = [], at + 1
                while (found := _INSIDE.match(line, at)) and found.end() == len(line):
                    pieces.append(found[0])
                    line, at = next(lines, ""), 0
                    if not line:
                        raise csv.Error("unexpected end of data")
                assert found is not None
                at = found.end() + 1
                fields.append(re.sub(r'\\(["\\])', r"\1", "".join([*pieces, found[0]])))
                if line[at : at + 1] not in (delimiter, "\r", "\n", ""):
                    raise csv.Error(f"'{delimiter}' expected after '\"'")
            else:
                end = line.find(delimiter, at)
                field = line[at:end] if end >= 0 else line[at:].rstrip("\r\n")
                fields.append(field.replace('\\"', '"'))
                at = end if end >= 0 else len(line)
            goes_on = line[at : at + 1] == delimiter
            at += 1
        yield fields
