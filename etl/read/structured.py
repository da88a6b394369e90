"""Parsers of files of records: JSON, .parquet and Arrow, each record with the counts of its decoding."""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from etl.read.bounded import TooHard, parsed
from etl.read.decoding import NO_COUNTS, Counts, counted, decoded, decoder, encoding_of, invalid_bytes
from etl.read.files import MOST_RECORD_BYTES, Part, chunks, head_of, opened
from etl.read.lines import MALFORMED, NOT_PARSED, TOO_LONG, lines_of
from handoff.store import resolve

LONG_LINE = 4 << 20  # characters: JSON takes up to 30 times as much memory when it is parsed
BATCH_ROWS = 256  # of .parquet, decoded at a time
JSON_BLANKS = " \t\r\n"
_DECODE = json.JSONDecoder().raw_decode
_BLANKS = re.compile(f"[{JSON_BLANKS}]*")


class Json(NamedTuple):
    """A JSON object; or none, with the reason, the place, and the bytes that are lost."""

    value: dict[str, Any] | None
    counts: Counts
    reason: str = ""
    where: str = ""
    lost_bytes: int = 0


def json_values(line: str) -> Iterator[tuple[Any, int]]:
    """The JSON values of a line, which may be several, and 0.

    For the first invalid one None and the number of characters from there on; they are not looked at.
    """
    try:
        yield json.loads(line), 0
    except (ValueError, RecursionError):
        at = 0
        while (at := _past_blanks(line, at)) < len(line):
            try:
                value, at = _DECODE(line, at)
            except (ValueError, RecursionError):
                yield None, len(line) - at
                return
            yield value, 0


def _past_blanks(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    assert found is not None
    return found.end()


def picked(line_and_names: tuple[str, Sequence[str]]) -> list[tuple[Any, int]]:
    """As :func:`json_values`, of objects only the columns that are read: of a long line the others may be large."""
    line, names = line_and_names
    return [
        ({k: v for k, v in value.items() if k in _tops(value, names)} if isinstance(value, dict) else None, lost)
        for value, lost in json_values(line)
    ]


def _tops(value: dict[str, Any], names: Sequence[str]) -> set[str]:
    return {top_column(name, list(value)) for name in names}


def json_objects(part: Part, configured: str, names: Sequence[str] | None = None) -> Iterator[Json]:
    """The objects of JSON lines; what is none is counted, and the next line is read.

    Args:
        names: columns that are needed of objects on long lines, which a child process parses; unset: all.
    """
    with opened(part) as stream:
        for line, counts, offset in lines_of(stream, part, configured):
            where = f"byte {offset:,}"
            if line is None:
                yield Json(None, counts, TOO_LONG, where, counts.raw_bytes)
            elif line.strip(JSON_BLANKS):
                try:
                    bounded = names is not None and len(line) > LONG_LINE
                    values = parsed("json", (line, names)) if bounded else json_values(line)
                except TooHard as error:
                    yield Json(None, counts, NOT_PARSED, f"{where}: {error}", counts.raw_bytes)
                    continue
                for value, lost in values:
                    if isinstance(value, dict):
                        yield Json(value, counts)
                    else:
                        lost = len(line[-lost:].encode(errors="replace")) if lost else counts.raw_bytes
                        yield Json(None, counts, MALFORMED, f"{where}: no JSON object", lost)
                    counts = NO_COUNTS  # the line's further values have no bytes of their own


def is_json_lines(head: bytes, encoding: str) -> bool:
    """Whether a .json file with this head has a JSON object on its first line, as C4 and others call JSON lines."""
    text = head.decode(encoding, "replace").lstrip(JSON_BLANKS)
    first, end, _ = text.partition("\n")
    if not end and len(head) > 1024 and text.startswith("{"):
        return True  # one long line, or one long object
    value, _ = next(json_values(first), (None, 0))
    return isinstance(value, dict)


def json_document(part: Part, configured: str, names: Sequence[str] | None = None) -> Iterator[Json]:
    """The objects of a .json file: JSON lines, or an array of objects, or objects over several lines."""
    head, encoding = head_of(part.file, configured)
    if is_json_lines(head, encoding):
        yield from json_objects(part, configured, names)
        return
    text, offset, total, first, wanted = "", 0, NO_COUNTS, True, 0
    with opened(part) as stream:
        for more, counts in chain(decoded_chunks(stream, part, configured), [("", NO_COUNTS)]):
            text, total = text + more, total + counts
            if (
                more and len(text) < wanted
            ):  # a value that is cut short is not tried again before there is twice as much
                continue
            at, ended = 0, not more
            while True:
                at = _past_blanks(text, at)
                while text[at : at + 1] == "," or (first and text[at : at + 1] == "["):
                    at, first = _past_blanks(text, at + 1), False
                try:
                    value, end = _DECODE(text, at)
                except (ValueError, RecursionError):
                    break
                if end == len(text) and not ended and not isinstance(value, dict | list):  # a number may go on
                    break
                first = False
                yield _json(value, total, f"character {offset + at:,}", len(text[at:end].encode(errors="replace")))
                at, total = end, NO_COUNTS
            text, offset, wanted = text[at:], offset + at, 2 * len(text[at:])
            if ended or len(text) > MOST_RECORD_BYTES:
                break
        unread = sum(len(data) for data in iter(lambda: stream.read(1 << 20), b""))
    if unread or text.strip(JSON_BLANKS + "],"):
        reason, lost = TOO_LONG if unread else MALFORMED, unread + len(text.encode(errors="replace"))
        where = f"character {offset:,}: no JSON from here on"
        yield Json(None, total + Counts(unread, 0, 0), reason, where, lost)


def _json(value: Any, counts: Counts, where: str, size: int) -> Json:
    return (
        Json(value, counts) if isinstance(value, dict) else Json(None, counts, MALFORMED, f"{where}: no object", size)
    )


def decoded_chunks(stream: Any, part: Part, configured: str) -> Iterator[tuple[str, Counts]]:
    """The part's text, some MB at a time."""
    decode = None
    for data in chunks(stream, part):
        before, mark = invalid_bytes(), 0
        if decode is None:
            encoding, mark = (head_of(part.file, configured)[1], 0) if part.start else encoding_of(data, configured)
            decode = decoder(encoding).decode
        yield decode(data[mark:]), counted(data, before)
    if decode is not None:
        before = invalid_bytes()
        rest = decode(b"", True)
        yield rest, Counts(0, invalid_bytes() - before, invalid_bytes() - before)


def top_column(path: str, columns: Sequence[str]) -> str:
    """The column that holds what a path names: itself, or what stands before its first `.` or `[`."""
    return path if path in columns else re.split(r"[.\[]", path)[0]


def value_at(record: dict[str, Any], path: str) -> Any:
    """What a path names in a record: `text`, `meta.title`, `messages[0].content`; a list for `messages[*].content`."""
    if path in record:
        return record[path]
    found: list[Any] = [record]
    for name, index in re.findall(r"([^.\[\]]+)|\[(\*|\d+)\]", path):
        if name:
            found = [value[name] for value in found if isinstance(value, dict) and name in value]
        elif index == "*":
            found = [inner for value in found if isinstance(value, list) for inner in value]
        else:
            found = [value[int(index)] for value in found if isinstance(value, list) and int(index) < len(value)]
    return found if "[*]" in path else next(iter(found), None)


def parquet_rows(part: Part, names: Sequence[str]) -> Iterator[tuple[list[Any], Counts]]:
    """The named columns of the part's row groups, or what paths name in them; strings and integers as text."""
    filesystem, path = resolve(part.file.uri)
    with pq.ParquetFile(path, filesystem=filesystem) as file:
        groups = range(part.start, file.num_row_groups if part.end is None else part.end)
        columns = list(dict.fromkeys(top_column(name, file.schema_arrow.names) for name in names))
        for batch in file.iter_batches(BATCH_ROWS, row_groups=list(groups), columns=columns, use_threads=False):
            yield from _rows(batch, names)


def arrow_rows(part: Part, names: Sequence[str]) -> Iterator[tuple[list[Any], Counts]]:
    """The same of an Arrow stream or file, as Hugging Face's `save_to_disk` writes them."""
    with opened(part) as stream:
        for batch in arrow_batches(stream):
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield from _rows(batch.slice(start, BATCH_ROWS), names)


def arrow_batches(stream: Any) -> Iterator[pa.RecordBatch]:
    """The batches of an Arrow stream, or of an Arrow file, which begins with ARROW1."""
    if stream.read(6) == b"ARROW1":
        stream.seek(0)
        file = pa.ipc.open_file(stream)
        yield from (file.get_batch(number) for number in range(file.num_record_batches))
    else:
        stream.seek(0)
        yield from pa.ipc.open_stream(stream)


def _rows(batch: pa.RecordBatch, names: Sequence[str]) -> Iterator[tuple[list[Any], Counts]]:
    columns = [_values(batch, name) for name in names]
    for values in zip(*columns, strict=True):
        before = invalid_bytes()
        raw = [value for value in values if isinstance(value, bytes)]
        yield (
            [decoded(value, "utf-8") if isinstance(value, bytes) else value for value in values],
            counted(b"".join(raw), before),
        )


def _values(batch: pa.RecordBatch, name: str) -> list[Any]:
    """A column of strings or integers as bytes, which should be UTF-8 but need not be; of others what a path names."""
    top = top_column(name, batch.schema.names)
    column = batch.column(top)
    if top != name:
        return [value_at({top: value}, name) for value in column.to_pylist()]
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_integer(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    return column.cast(pa.large_binary()).to_pylist()  # type: ignore[no-any-return]
