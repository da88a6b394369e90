"""Lines of raw files, decoded and counted, with the place at which each begins."""

from collections.abc import Iterator
from typing import IO, NamedTuple

from etl.read.decoding import Counts, counted, decoded, decoder, encoding_of, invalid_bytes
from etl.read.files import MOST_RECORD_BYTES, UNCUTTABLE, Part, chunks, head_of

MALFORMED, TOO_LONG, NOT_PARSED = "malformed_record", "record_too_long", "record_not_parsed"


class Line(NamedTuple):
    """A line with its end; no text of one that is longer than MOST_RECORD_BYTES."""

    text: str | None
    counts: Counts
    offset: int  # of its first byte in the file as it is unpacked


def encoding_in(first: bytes, part: Part, configured: str) -> tuple[str, int]:
    """Encoding of a part whose first bytes are given, and bytes of a byte order mark among them."""
    return (head_of(part.file, configured)[1], 0) if part.start else encoding_of(first, configured)


def lines_of(stream: IO[bytes], part: Part, configured: str, end: bytes = b"\n") -> Iterator[Line]:
    """The part's lines."""
    rest, skipped, encoding, offset = b"", 0, "", part.start
    decode = None
    for data in chunks(stream, part):
        if not encoding:
            encoding, mark = encoding_in(data, part, configured)
            data, offset = data[mark:], offset + mark
            if encoding.startswith(UNCUTTABLE):  # its line ends are found in UTF-8
                decode, encoding = decoder(encoding).decode, "utf-8"
        if decode is not None:
            data = decode(data).encode()
        first, *others = data.split(end)
        *whole, rest = [rest + first, *others]
        for line in whole:
            found = _line(line + end, encoding, skipped, offset)
            yield found
            offset, skipped = offset + found.counts.raw_bytes, 0
        if len(rest) > MOST_RECORD_BYTES:
            rest, skipped = b"", skipped + len(rest)
    if rest or skipped:
        yield _line(rest, encoding, skipped, offset)


def _line(line: bytes, encoding: str, skipped: int, offset: int) -> Line:
    if skipped:
        return Line(None, Counts(skipped + len(line), 0, 0), offset)
    before = invalid_bytes()
    text = decoded(line, encoding)
    return Line(text, counted(line, before), offset)
