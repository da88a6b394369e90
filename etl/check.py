"""Looking at raw files before any engine starts: wrong formats and encodings are found in seconds, by name."""

import codecs
import gzip
import json
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from etl.config import SourceConfig
from etl.read import csv_header
from etl.source import Source, SourceFile, resolved
from handoff.errors import ConfigError, SourceError
from handoff.store import Store

HEAD_BYTES = 64 << 10
LONGEST_FIRST_LINE_BYTES = 8 << 20
CHUNK_BYTES = 8 << 20
NAMED_FAULTS = 5


def check_source(config: SourceConfig, cache: Path) -> list[tuple[str, int]]:
    """Find the source's files and look at the head of each; starts no engine.

    Returns:
        URI (``package:…/name`` for a package's member) and bytes of each file.

    Raises:
        SourceError: as :func:`etl.source.resolved` and :func:`check_files`.
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
    try:
        "".encode(config.encoding)
    except LookupError:
        raise ConfigError(f"{config.encoding!r} is no text encoding. Remedy: correct corpus.source.encoding") from None
    if config.paired and source.format in ("txt", "markup"):
        raise ConfigError(
            f"{source.files[0].uri} has no columns. Remedy: unset corpus.source.completion_column, or give .jsonl, .csv "
            "or .parquet"
        )
    checks = {"txt": _check_text, "markup": _check_text, "jsonl": _check_jsonl, "csv": _check_csv}
    check = {**checks, "parquet": _check_parquet}[source.format]
    with ThreadPoolExecutor(max_workers=16) as pool:
        faults = [f for f in pool.map(lambda file: check(file, config), source.files) if f]
        if not faults and source.format == "csv":
            faults = _differing_headers(source, pool.map(lambda file: csv_header(file, config.encoding), source.files))
    if faults:
        more = f" (and {len(faults) - NAMED_FAULTS} more files)" if len(faults) > NAMED_FAULTS else ""
        raise SourceError("; ".join(faults[:NAMED_FAULTS]) + more)


def _differing_headers(source: Source, headers: Iterable[list[str]]) -> list[str]:
    """The first .csv file whose columns are not those of the first one."""
    (first, wanted), *others = zip(source.files, headers, strict=True)
    return [
        f"{file.uri} has the columns {', '.join(columns)}, {first.uri} has {', '.join(wanted)}. "
        "Remedy: give files of one header, or write .jsonl"
        for file, columns in others
        if columns != wanted
    ][:1]


def find_undecodable(sources: Sequence[Source]) -> str:
    """Name the first text file that is not in its encoding, by reading all of them: for the message of a failure."""
    for file, encoding in ((file, source.settings.encoding) for source in sources for file in source.files):
        decoder = codecs.getincrementaldecoder(encoding)()
        done = 0
        with _open(file) as stream:
            try:
                while chunk := stream.read(CHUNK_BYTES):
                    decoder.decode(chunk)
                    done += len(chunk)
                decoder.decode(b"", final=True)
            except UnicodeDecodeError as error:
                return _not_decodable(file, encoding, error, done)
    encodings = " or ".join(sorted({source.settings.encoding for source in sources}))
    return f"a file is not {encodings} text. Remedy: correct corpus.source.encoding"


def _open(file: SourceFile) -> IO[bytes]:
    filesystem, path = Store("/").locate(file.uri)
    return filesystem.open_input_stream(path, compression=None)  # type: ignore[no-any-return]


def _check_text(file: SourceFile, config: SourceConfig) -> str | None:
    with _open(file) as stream:
        head = stream.read(HEAD_BYTES)
    try:
        text = codecs.getincrementaldecoder(config.encoding)().decode(head, final=len(head) == file.bytes)
    except UnicodeDecodeError as error:
        if b"\0" in head:
            return _binary(file)
        return _not_decodable(file, config.encoding, error, 0)
    return _binary(file) if "\0" in text else None


def _binary(file: SourceFile) -> str:
    return f"{file.uri} is binary: it contains NUL bytes. Remedy: exclude it, or set corpus.source.encoding (UTF-16?)"


def _not_decodable(file: SourceFile, encoding: str, error: UnicodeDecodeError, offset: int) -> str:
    value = error.object[error.start] if error.start < len(error.object) else 0
    return (
        f"{file.uri} is not {encoding} text: byte 0x{value:02x} near offset {offset + error.start:,}. "
        "Remedy: set corpus.source.encoding (such as iso-8859-1), or exclude the file"
    )


def _check_jsonl(file: SourceFile, config: SourceConfig) -> str | None:
    try:
        with _open(file) as raw:
            if file.name.endswith(".gz"):
                stream: Any = gzip.GzipFile(fileobj=raw)
            else:
                stream = pa.CompressedInputStream(raw, "zstd") if file.name.endswith(".zst") else raw
            line = stream.read(HEAD_BYTES).lstrip()
            while b"\n" not in line and len(line) < LONGEST_FIRST_LINE_BYTES and (more := stream.read(HEAD_BYTES)):
                line = (line + more).lstrip()
    except (OSError, EOFError, zlib.error) as error:
        return f"{file.uri} cannot be unpacked ({error}): it is damaged or cut short. Remedy: fetch it again"
    line, newline, _ = line.partition(b"\n")
    if not line or (not newline and len(line) >= LONGEST_FIRST_LINE_BYTES):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        return f"{file.uri}: its first line is no JSON object. Remedy: give one JSON object per line"
    if fault := _lacks_text(file, config, list(record)):
        return fault
    for key, column in _text_columns(config):
        if not isinstance(record[column], str | None):
            return f"{file.uri}: {column!r} of its first record is no string. Remedy: set corpus.source.{key}"
    return None


def _check_csv(file: SourceFile, config: SourceConfig) -> str | None:
    if fault := _check_text(file, config):
        return fault
    columns = csv_header(file, config.encoding)
    if fault := _lacks_text(file, config, columns):
        return fault
    if fault := _lacks_id(file, config, columns):
        return fault
    if twice := next((c for c in columns if columns.count(c) > 1), None):
        return f"{file.uri}: two columns are named {twice!r}. Remedy: rename one"
    return None


def _check_parquet(file: SourceFile, config: SourceConfig) -> str | None:
    filesystem, path = Store("/").locate(file.uri)
    try:
        with pq.ParquetFile(path, filesystem=filesystem) as parquet:
            schema = parquet.schema_arrow
    except pa.ArrowInvalid as error:
        return f"{file.uri} is not readable as Parquet ({error}). Remedy: write it again, or exclude it"
    if fault := _lacks_text(file, config, schema.names):
        return fault
    for key, column in _text_columns(config):
        type_ = schema.field(column).type
        if not (pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_)):
            return f"{file.uri}: column {column!r} is {type_}, not a string. Remedy: set corpus.source.{key}"
    return _lacks_id(file, config, schema.names)


def _text_columns(config: SourceConfig) -> list[tuple[str, str]]:
    """The columns that must be there and hold strings, each with the setting that names it."""
    named = [("text_column", config.text_column), ("completion_column", config.completion_column)]
    return [(key, column) for key, column in named if column]


def _lacks_id(file: SourceFile, config: SourceConfig, columns: list[str]) -> str | None:
    if not config.id_column or config.id_column in columns:
        return None
    return f"{file.uri} has no column {config.id_column!r}. Remedy: set corpus.source.id_column"


def _lacks_text(file: SourceFile, config: SourceConfig, columns: list[str]) -> str | None:
    for key, column in _text_columns(config):
        if column not in columns:
            return (
                f"{file.uri} has no column {column!r}, but {', '.join(columns[:8]) or 'none'}. "
                f"Remedy: set corpus.source.{key}"
            )
    return None
