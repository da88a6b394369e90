"""Check raw files before any engine starts: wrong formats and encodings are found in seconds, and the file is named.

The check reads with :mod:`etl.read.files` and :mod:`etl.read.structured`, as the stage itself does.
"""

import codecs
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from etl.config import SourceConfig
from etl.read.decoding import decoded, encoding_named, encoding_of, in_another_encoding, invalid_bytes, non_ascii_bytes
from etl.read.files import MOST_PAGE_BYTES, MOST_PARTS, PART_BYTES, Part, SourceFile, chunks, head_of, kind_of, opened
from etl.read.records import too_large_a_page
from etl.read.source import Source, resolved
from etl.read.structured import csv_rows, json_objects
from handoff.errors import ConfigError, SourceError
from handoff.job import log
from handoff.store import resolve

NAMED = 5  # files in a message


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
    if config.paired and source.format in ("txt", "markup"):
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
    look = {"txt": _text, "markup": _page, "jsonl": _jsonl, "csv": _csv, "parquet": _parquet}
    format_ = kind_of(file.name)[0]
    assert format_ is not None
    try:
        return look[format_](file, config)
    except SourceError as error:
        return str(error)


def _text(file: SourceFile, config: SourceConfig) -> str | None:
    if kind_of(file.name) == ("txt", "") and file.bytes > MOST_PARTS * PART_BYTES:
        return f"{file.uri} has more than {MOST_PARTS * PART_BYTES >> 30} GiB. Remedy: split it"
    return _head(file, config)


def _page(file: SourceFile, config: SourceConfig) -> str | None:
    return too_large_a_page(file.uri) if file.bytes > MOST_PAGE_BYTES else _head(file, config)


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
                encoding, done = encoding_of(data, config.encoding)
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
    record, reason, _ = next(json_objects(Part(file), config.encoding), (None, None, None))
    if record is None:
        if reason is None:  # an empty file
            return None
        return f"{file.uri}: its first line is no JSON object. Remedy: give one JSON object per line"
    if fault := _lacks_text(file, config, list(record)):
        return fault
    for key, column in _text_columns(config):
        if not isinstance(record[column], str | None):
            return f"{file.uri}: {column!r} of its first record is no string. Remedy: set corpus.source.{key}"
    return None


def _csv(file: SourceFile, config: SourceConfig) -> str | None:
    if fault := _head(file, config):
        return fault
    columns = next(csv_rows(Part(file), config.encoding), ([], None))[0] or []
    if twice := next((c for c in columns if columns.count(c) > 1), None):
        return f"{file.uri}: two columns are named {twice!r}. Remedy: rename one"
    return _lacks_text(file, config, columns) or _lacks_id(file, config, columns)


def _parquet(file: SourceFile, config: SourceConfig) -> str | None:
    filesystem, path = resolve(file.uri)
    try:
        with pq.ParquetFile(path, filesystem=filesystem) as parquet:
            schema = parquet.schema_arrow
    except pa.ArrowInvalid as error:
        return f"{file.uri} is not readable as Parquet ({error}). Remedy: write it again, or exclude it"
    if fault := _lacks_text(file, config, schema.names) or _lacks_id(file, config, schema.names):
        return fault
    for key, column in _text_columns(config):
        if not _is_text(type_ := schema.field(column).type):
            return f"{file.uri}: column {column!r} is {type_}, not a string. Remedy: set corpus.source.{key}"
    if config.id_column and not (_is_text(type_ := schema.field(config.id_column).type) or pa.types.is_integer(type_)):
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
    if not config.id_column or config.id_column in columns:
        return None
    return f"{file.uri} has no column {config.id_column!r}. Remedy: set corpus.source.id_column"


def _lacks_text(file: SourceFile, config: SourceConfig, columns: Sequence[str]) -> str | None:
    for key, column in _text_columns(config):
        if column not in columns:
            return (
                f"{file.uri} has no column {column!r}, but {', '.join(columns[:8]) or 'none'}. "
                f"Remedy: set corpus.source.{key}"
            )
    return None
