"""Check raw files before any engine starts: wrong formats and encodings are found in seconds, and the file is named.

The check reads with :mod:`etl.read.files` and :mod:`etl.read.structured`, as the stage itself does.
"""

import codecs
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from etl.config import SourceConfig
from etl.read.decoding import (
    NO_COUNTS,
    decoded,
    encoding_named,
    encoding_of,
    in_another_encoding,
    invalid_bytes,
    non_ascii_bytes,
    page_encoding,
)
from etl.read.delimited import Row, csv_rows
from etl.read.files import (
    MOST_PAGE_BYTES,
    MOST_PARTS,
    PART_BYTES,
    Format,
    Part,
    SourceFile,
    chunks,
    head_of,
    kind_of,
    opened,
)
from etl.read.records import as_text, columns_of, too_large_a_page
from etl.read.refusals import other_than_named
from etl.read.source import Source, resolved
from etl.read.structured import Json, arrow_batches, json_document, json_objects, top_column, value_at
from handoff.errors import ConfigError, SourceError
from handoff.job import log
from handoff.store import resolve

NAMED = 5  # files in a message
OF_RECORDS: tuple[Format, ...] = ("jsonl", "json", "csv", "parquet", "arrow")  # with columns
NO_ROW = Row(None, NO_COUNTS)


def check_source(config: SourceConfig, cache: Path) -> list[tuple[str, int]]:
    """Find the source's files and look at the head of each; starts no engine.

    Returns:
        URI (``package:…/name`` for a package's member) and bytes of each file.

    Raises:
        SourceError: as :func:`etl.read.source.resolved` and :func:`check_files`.
    """
    with resolved(config, cache) as source:
        check_files(source)
        return [(f.uri if source.in_place else f"{config.uri}/{f.name}", f.bytes) for f in source.files]


def check_files(source: Source) -> None:
    """Look at the head of every file, or at its footer (.parquet).

    Raises:
        ConfigError: unknown encoding.
        SourceError: naming up to five files that cannot be read as configured.
    """
    config = source.settings
    if left_out := source.left_out:
        some = ", ".join(left_out[:NAMED])
        log.info("source: %s: %d files with hidden names are left out (%s)", config.uri, len(left_out), some)
    encoding_named(config.encoding)
    if config.paired and source.format not in OF_RECORDS:
        raise ConfigError(
            f"{source.files[0].uri} has no columns. Remedy: unset corpus.source.completion_column, or give .jsonl, .csv "
            "or .parquet"
        )
    with ThreadPoolExecutor(max_workers=16) as pool:
        faults = [f for f in pool.map(lambda file: _fault(file, config), source.files) if f]
    if faults:
        more = f" (and {len(faults) - NAMED} more files)" if len(faults) > NAMED else ""
        raise SourceError("; ".join(faults[:NAMED]) + more)


def _fault(file: SourceFile, config: SourceConfig) -> str | None:
    look = {"txt": _text, "markup": _page, "book": _book, "jsonl": _jsonl, "json": _json, "csv": _csv}
    look |= {"parquet": _parquet, "arrow": _arrow, "warc": _archive, "mbox": _archive}
    format_ = kind_of(file.name)[0]
    assert format_ is not None
    try:
        return _misnamed(file, format_) or look[format_](file, config)
    except SourceError as error:
        return str(error)


def _misnamed(file: SourceFile, format_: Format) -> str | None:
    """What a file is, if its name says something else."""
    with opened(Part(file)) as stream:
        told = other_than_named(stream.read(64))
    own = {"parquet": "a Parquet", "arrow": "an Arrow", "book": "a zip"}.get(format_, " ")
    return f"{file.uri} is {told}" if told and not told.startswith(own) else None


def _text(file: SourceFile, config: SourceConfig) -> str | None:
    if kind_of(file.name) == ("txt", "") and file.bytes > MOST_PARTS * PART_BYTES:
        return f"{file.uri} has more than {MOST_PARTS * PART_BYTES >> 30} GiB. Remedy: split it"
    return _head(file, config)


def _page(file: SourceFile, config: SourceConfig) -> str | None:
    return too_large_a_page(file.uri) if file.bytes > MOST_PAGE_BYTES else _head(file, config)


def _book(file: SourceFile, config: SourceConfig) -> str | None:
    if file.bytes > MOST_PAGE_BYTES:
        return too_large_a_page(file.uri)
    return _head(file, config) if file.name.lower().endswith(".ipynb") else None


def _archive(file: SourceFile, config: SourceConfig) -> str | None:
    with opened(Part(file)) as stream:
        head = stream.read(64).lstrip()
    wanted = b"From " if kind_of(file.name)[0] == "mbox" else b"WARC/"
    return (
        f"{file.uri} does not begin with `{wanted.decode()}`. Remedy: exclude it"
        if head and not head.startswith(wanted)
        else None
    )


def _head(file: SourceFile, config: SourceConfig, *, may_have_nul: bool = False) -> str | None:
    head, encoding = head_of(file, config.encoding)
    before = invalid_bytes()
    text = decoded(head, encoding)
    if "\0" in text and not may_have_nul:
        return (
            f"{file.uri} is binary: it contains NUL bytes. Remedy: exclude it, or set corpus.source.encoding (UTF-16?)"
        )
    wrong = in_another_encoding(invalid_bytes() - before, non_ascii_bytes(head))
    return undecodable(file, config) if wrong else None


def undecodable(file: SourceFile, config: SourceConfig) -> str:
    """The message for a file in another encoding: names the first byte that shows it, by reading the file up to there."""
    if kind_of(file.name)[0] == "parquet":
        return f"{file.uri} has strings that are not UTF-8. Remedy: write it again, or exclude it"
    encoding, place, done = config.encoding, "", 0
    strict: codecs.IncrementalDecoder | None = None
    with opened(Part(file)) as stream:
        for data in chunks(stream, Part(file)):
            if strict is None:
                encoding_of_it = page_encoding if kind_of(file.name)[0] == "markup" else encoding_of
                encoding, done = encoding_of_it(data, config.encoding)
                strict, data = codecs.getincrementaldecoder(encoding)(), data[done:]
            try:
                strict.decode(data)
            except UnicodeDecodeError as error:
                at = done + error.start - (len(error.object) - len(data))  # it holds what the last chunk ended with
                place = f": byte 0x{error.object[error.start]:02x} near offset {at:,}"
                break
            done += len(data)
    return (
        f"{file.uri} is not {encoding} text{place}. Remedy: set corpus.source.encoding (cp1252 for what Windows writes in "
        "Western Europe and America), or exclude the file"
    )


def _jsonl(file: SourceFile, config: SourceConfig) -> str | None:
    if fault := _head(file, config, may_have_nul=True):  # in a line that is counted
        return fault
    return _first_object(file, config, next(json_objects(Part(file), config.encoding), None))


def _json(file: SourceFile, config: SourceConfig) -> str | None:
    if fault := _head(file, config, may_have_nul=True):
        return fault
    return _first_object(file, config, next(json_document(Part(file), config.encoding), None))


def _first_object(file: SourceFile, config: SourceConfig, found: Json | None) -> str | None:
    if found is None:  # an empty file
        return None
    if found.value is None:
        array = " An array of objects is read from a .json file" if kind_of(file.name)[0] == "jsonl" else ""
        return f"{file.uri}: its first line is no JSON object. Remedy: give one JSON object per line.{array}"
    if fault := _lacks_text(file, config, list(found.value)):
        return fault
    for key, column in _text_columns(config):
        value = value_at(found.value, column)
        if value is None and column not in found.value:
            return f"{file.uri}: {column!r} names nothing in its first record. Remedy: set corpus.source.{key}"
        if not as_text(value, column)[1]:
            hint = ", or a path such as `messages[*].content`" if isinstance(value, list | dict) else ""
            return f"{file.uri}: {column!r} of its first record is no string. Remedy: set corpus.source.{key}{hint}"
    return None


def _csv(file: SourceFile, config: SourceConfig) -> str | None:
    if fault := _head(file, config):
        return fault
    columns = [
        name.strip() for name in next(csv_rows(Part(file), config.encoding, columns_of(config)), NO_ROW).fields or ()
    ]
    if any(column not in columns for _, column in _text_columns(config)) and _looks_like_data(columns):
        return f"{file.uri} has no header: its first line is a record. Remedy: put a line with the columns' names before it"
    if twice := next((c for c in columns if columns.count(c) > 1), None):
        return f"{file.uri}: two columns are named {twice!r}. Remedy: rename one"
    return _lacks_text(file, config, columns) or _lacks_id(file, config, columns)


def _looks_like_data(columns: Sequence[str]) -> bool:
    """Whether what should be names of columns has a number, or a text of several words, among them."""
    return any(re.fullmatch(r"[+-]?\d[\d.,:-]*|\S+(?:\s+\S+){5,}", name) or len(name) > 100 for name in columns)


def _arrow(file: SourceFile, config: SourceConfig) -> str | None:
    with opened(Part(file)) as stream:
        batch = next(arrow_batches(stream), None)
        return None if batch is None else _columns(file, config, batch.schema)


def _parquet(file: SourceFile, config: SourceConfig) -> str | None:
    filesystem, path = resolve(file.uri)
    try:
        with pq.ParquetFile(path, filesystem=filesystem) as parquet:
            return _columns(file, config, parquet.schema_arrow)
    except pa.ArrowInvalid as error:
        return f"{file.uri} is not readable as Parquet ({error}). Remedy: write it again, or exclude it"


def _columns(file: SourceFile, config: SourceConfig, schema: pa.Schema) -> str | None:
    if fault := _lacks_text(file, config, schema.names) or _lacks_id(file, config, schema.names):
        return fault
    for key, column in _text_columns(config):
        if column in schema.names and not _is_text(type_ := schema.field(column).type):
            nested = ", or a path such as `messages[*].content`" if pa.types.is_nested(type_) else ""
            return f"{file.uri}: column {column!r} is {type_}, not a string. Remedy: set corpus.source.{key}{nested}"
    if config.id_column in schema.names and not (
        _is_text(type_ := schema.field(config.id_column).type) or pa.types.is_integer(type_)
    ):
        return (
            f"{file.uri}: column {config.id_column!r} is {type_}, neither a string nor an integer. "
            "Remedy: set or unset corpus.source.id_column"
        )
    return None


def _is_text(type_: pa.DataType) -> bool:
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    return pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_)


def _text_columns(config: SourceConfig) -> list[tuple[str, str]]:
    """The columns that must be there and hold strings, each with the setting that names it."""
    named = [("text_column", config.text_column), ("completion_column", config.completion_column)]
    return [(key, column) for key, column in named if column]


def _lacks_id(file: SourceFile, config: SourceConfig, columns: Sequence[str]) -> str | None:
    if not config.id_column or top_column(config.id_column, columns) in columns:
        return None
    return f"{file.uri} has no column {config.id_column!r}. Remedy: set corpus.source.id_column"


def _lacks_text(file: SourceFile, config: SourceConfig, columns: Sequence[str]) -> str | None:
    for key, column in _text_columns(config):
        if top_column(column, columns) not in columns:
            return (
                f"{file.uri} has no column {column!r}, but {', '.join(columns[:8]) or 'none'}. "
                f"Remedy: set corpus.source.{key}"
            )
    return None
