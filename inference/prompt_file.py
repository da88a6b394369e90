"""Prompts from .jsonl and .parquet files, a batch at a time, every fault named with its place."""

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from handoff.errors import SourceError
from handoff.parquet import batches
from handoff.store import resolve

SCHEMA_REMEDY = 'give each prompt a unique "id" and a "prompt", as in {"id": "1", "prompt": "To be"}'
ENDINGS = (".jsonl", ".parquet")
BATCH_ROWS = 1024


@dataclass(frozen=True)
class Columns:
    """Which columns of a file are what.

    Attributes:
        id: the column with each prompt's id.
        prompt: the column with its text.
        completion: the column with a completion to score; None for none.
        more: further columns, kept under their own names.
    """

    id: str = "id"
    prompt: str = "prompt"
    completion: str | None = None
    more: tuple[str, ...] = ()

    @property
    def texts(self) -> dict[str, str]:
        """Columns of text, by the names that they get."""
        return {"prompt": self.prompt} | ({"completion": self.completion} if self.completion else {})

    @property
    def all(self) -> list[str]:
        return list(dict.fromkeys((self.id, *self.texts.values(), *self.more)))


def prompt_files(uri: str) -> list[str]:
    """The prompt files that a path or URI names: itself, or all that a directory has, in the order of their paths.

    Raises:
        SourceError: there is no such file, it is of another format, or a directory has none.
    """
    try:
        filesystem, path = resolve(uri)
        info = filesystem.get_file_info(path)
        if info.type == pafs.FileType.Directory:
            found = filesystem.get_file_info(pafs.FileSelector(path, recursive=True))
            names = sorted(i.path for i in found if i.type == pafs.FileType.File and i.path.endswith(ENDINGS))
            if not names:
                raise SourceError(
                    f"prompts {uri}: no .jsonl or .parquet file in the directory. Remedy: correct the path"
                )
            return [uri.rstrip("/") + name[len(path.rstrip("/")) :] for name in names]
    except (OSError, pa.ArrowException, ImportError) as error:
        raise _unreadable(uri, error) from None
    if not uri.endswith(ENDINGS):
        raise SourceError(f"prompts {uri}: not a .jsonl or .parquet file. Remedy: convert it, or correct the path")
    if info.type != pafs.FileType.File:
        raise SourceError(f"prompts {uri}: there is no such file. Remedy: correct the path")
    return [uri]


def read_prompts(uri: str, columns: Columns) -> Iterator[pa.Table]:
    """Prompts of one file in its order, in tables of at most 1,024 rows.

    Yields:
        Columns ``id`` (string; integers become their digits), ``prompt`` and, where one is named, ``completion`` (string,
        null where the file has null), and the further ones: of Parquet in their types, of JSON lines as strings, what is no string as JSON.

    Raises:
        SourceError: unreadable, or not as ``columns`` says.
    """
    try:
        filesystem, path = resolve(uri)
        yield from (_jsonl if uri.endswith(".jsonl") else _parquet)(filesystem, path, uri, columns)
    except (OSError, pa.ArrowException, ImportError) as error:
        raise _unreadable(uri, error) from None


def _unreadable(uri: str, error: Exception) -> SourceError:
    cause = str(error).split("\n")[0]
    return SourceError(f"prompts {uri}: cannot be read ({cause}). Remedy: check the file and access to it")


def _jsonl(filesystem: pafs.FileSystem, path: str, uri: str, columns: Columns) -> Iterator[pa.Table]:
    rows: list[tuple[Any, ...]] = []
    with filesystem.open_input_stream(path) as stream, pa.PythonFile(stream, "r") as raw:
        for number, line in enumerate(_lines(raw), start=1):
            if number == 1:
                line = _without_mark(line, uri)
            if line.strip():
                rows.append(_json_row(line, f"prompts {uri}, line {number}", columns))
            if len(rows) == BATCH_ROWS:
                yield _strings(rows, columns)
                rows = []
    if rows:
        yield _strings(rows, columns)


def _json_row(line: bytes, place: str, columns: Columns) -> tuple[Any, ...]:
    text = _utf8(line, place)
    try:
        row = json.loads(text)
        named = {name: row[name] for name in columns.all}
    except (ValueError, RecursionError):  # of too many digits, too many brackets
        raise SourceError(f"{place}: not JSON. Remedy: {SCHEMA_REMEDY}") from None
    except (TypeError, KeyError):
        wanted = " and ".join(columns.all)
        raise SourceError(f"{place}: not an object with {wanted}. Remedy: {SCHEMA_REMEDY}") from None
    more = [_whole(_as_text(named[name]), f"{place}: {name}") for name in columns.more]
    texts = [_checked_text(named[column], f"{place}: {column}") for column in columns.texts.values()]
    return (_checked_id(named[columns.id], place), *texts, *more)


def _without_mark(line: bytes, uri: str) -> bytes:
    """The first line without UTF-8's byte order mark. Raises SourceError at a mark of UTF-16 or UTF-32, whose lines are others."""
    if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)):
        wide = line.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE))
        raise _not_utf8(
            f"prompts {uri}", f"the file is {'UTF-32' if wide else 'UTF-16'}", "UTF-32" if wide else "UTF-16"
        )
    return line.removeprefix(codecs.BOM_UTF8)


def _utf8(line: bytes, place: str) -> str:
    """The text of a line. Raises SourceError where it is of another encoding, with that, as far as bytes tell it."""
    if b"\0" in line:  # no JSON has one; every letter of UTF-16 does
        raise _not_utf8(place, "it has zero bytes, as UTF-16 does", "UTF-16LE")
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        byte = (
            f"byte 0x{line[error.start]:02x} at {error.start + 1} is not UTF-8; the file may be Latin-1 or Windows-1252"
        )
        raise _not_utf8(place, byte, "WINDOWS-1252") from None


def _not_utf8(place: str, why: str, encoding: str) -> SourceError:
    return SourceError(
        f"{place}: {why}. Remedy: write it as UTF-8 (iconv -f {encoding} -t UTF-8 OLD > NEW, with the encoding that it has)"
    )


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _strings(rows: list[tuple[Any, ...]], columns: Columns) -> pa.Table:
    names = ["id", *columns.texts, *columns.more]
    return pa.table({n: pa.array(c, pa.string()) for n, c in zip(names, zip(*rows, strict=True), strict=True)})


def _lines(stream: Any) -> Iterator[bytes]:
    rest: list[bytes] = []  # of a line that goes on: joined once, as a line may be many chunks long
    while chunk := stream.read(1 << 20):
        first, *others = chunk.split(b"\n")
        rest.append(first)
        if others:
            yield b"".join(rest)
            yield from others[:-1]
            rest = [others[-1]]
    if last := b"".join(rest):
        yield last


def _parquet(filesystem: pafs.FileSystem, path: str, uri: str, columns: Columns) -> Iterator[pa.Table]:
    with pq.ParquetFile(path, filesystem=filesystem) as file:
        names = file.schema_arrow.names
        if missing := [name for name in columns.all if name not in names]:
            raise SourceError(
                f"prompts {uri}: no column {' and '.join(missing)} (it has {', '.join(names)}). Remedy: {SCHEMA_REMEDY}"
            )
        for name, good, what in (
            (columns.id, (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer), "strings or integers"),
            *((column, (pa.types.is_string, pa.types.is_large_string), "strings") for column in columns.texts.values()),
        ):
            kind = file.schema_arrow.field(name).type
            kind = kind.value_type if pa.types.is_dictionary(kind) else kind
            if not pa.types.is_null(kind) and not any(is_of(kind) for is_of in good):
                raise SourceError(f"prompts {uri}: column {name} holds {kind}, not {what}. Remedy: {SCHEMA_REMEDY}")
        passed = 0
        for batch in batches(file, columns.all, BATCH_ROWS):
            yield _cast(batch, f"prompts {uri}", passed, columns)
            passed += len(batch)


def _cast(batch: pa.RecordBatch, subject: str, passed: int, columns: Columns) -> pa.Table:
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        raise SourceError(
            f"{subject}, row {passed + _first_bad(batch)}: not UTF-8. Remedy: write its texts as UTF-8 anew"
        ) from None
    ids = batch[columns.id].cast(pa.string())
    empty = pc.fill_null(pc.equal(ids, ""), True)
    if (bad := pc.index(empty, True).as_py()) >= 0:
        raise SourceError(
            f"{subject}, row {passed + bad + 1}: id is {ids[bad].as_py()!r}, not a string or an integer. "
            f"Remedy: {SCHEMA_REMEDY}"
        )
    texts = {name: batch[column].cast(pa.string()) for name, column in columns.texts.items()}
    return pa.table({"id": ids, **texts, **{name: _plain(batch[name]) for name in columns.more}})


def _plain(column: pa.Array) -> pa.Array:
    """A column of views as one of the plain type: rows of views cannot be picked out by their places."""
    plain = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}.get(column.type)
    return column if plain is None else column.cast(plain)


def _first_bad(batch: pa.RecordBatch) -> int:
    """1-based row of the first text that is no UTF-8."""
    for row in range(len(batch)):
        try:
            batch.slice(row, 1).to_pylist()
        except UnicodeDecodeError:
            return row + 1
    return 1


def _checked_id(value: Any, place: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise SourceError(f"{place}: id is {value!r}, not a string or an integer. Remedy: {SCHEMA_REMEDY}")
    _whole(value, f"{place}: id")
    return value


def _checked_text(value: Any, what: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise SourceError(f"{what} is {value!r:.40}, not a string. Remedy: {SCHEMA_REMEDY}")
    return _whole(value, what)


def _whole(text: str | None, what: str) -> str | None:
    """See that a text is one of whole characters: JSON's \\u escapes can name half of a pair."""
    try:
        (text or "").encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise SourceError(
            f"{what} holds {half} at character {error.start + 1}, half of a surrogate pair, which is no character. "
            "Remedy: write the file with whole characters (in Python json.dumps(..., ensure_ascii=False), as UTF-8)"
        ) from None
    return text
