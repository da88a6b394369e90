"""Prompts from a file: .jsonl or .parquet with columns id and prompt, every fault named."""

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from handoff.errors import SourceError
from handoff.parquet import batches
from handoff.store import resolve

SCHEMA_REMEDY = 'give each prompt a unique "id" and a "prompt", as in {"id": "1", "prompt": "To be"}'


def read_prompt_file(uri: str, limit: int | None = None) -> pa.Table:
    """Prompts in the file's order.

    Args:
        uri: path or URI of a ``.jsonl`` or ``.parquet`` file. Columns other than id and prompt are ignored.
        limit: rows to look at; None reads and checks the whole file.

    Returns:
        Table of ``id`` (string; integers become their digits) and ``prompt`` (string, null where the file has null).

    Raises:
        SourceError: file missing, unreadable, of another format or schema, empty, or with repeated ids.
    """
    name = uri.rsplit("/", 1)[-1]
    if not name.endswith((".jsonl", ".parquet")):
        raise SourceError(f"prompts {uri}: not a .jsonl or .parquet file. Remedy: convert it, or correct the path")
    try:
        filesystem, path = resolve(uri)
        if filesystem.get_file_info(path).type != pafs.FileType.File:
            raise SourceError(f"prompts {uri}: there is no such file. Remedy: correct the path")
        rows = (_jsonl if name.endswith(".jsonl") else _parquet)(filesystem, path, uri)
        ids, prompts, seen = [], [], set()
        for place, identity, prompt in rows:
            ids.append(_checked_id(identity, f"prompts {uri}, {place}"))
            prompts.append(_checked_prompt(prompt, f"prompts {uri}, {place}"))
            if ids[-1] in seen:
                raise SourceError(f"prompts {uri}, {place}: id {ids[-1]!r} was there before. Remedy: make ids unique")
            seen.add(ids[-1])
            if len(ids) == limit:
                break
    except (OSError, pa.ArrowException, ImportError) as error:
        cause = str(error).split("\n")[0]
        raise SourceError(f"prompts {uri}: cannot be read ({cause}). Remedy: check the file and access to it") from None
    if not ids:
        raise SourceError(f"prompts {uri}: no prompts in the file. Remedy: {SCHEMA_REMEDY}")
    return pa.table({"id": pa.array(ids, pa.string()), "prompt": pa.array(prompts, pa.string())})


def _jsonl(filesystem: pafs.FileSystem, path: str, uri: str) -> Iterator[tuple[str, Any, Any]]:
    with filesystem.open_input_stream(path) as stream, pa.PythonFile(stream, "r") as raw:
        number = 0
        for line in _lines(raw):
            number += 1
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                identity, prompt = row["id"], row["prompt"]
            except (ValueError, RecursionError):  # of bytes that are no UTF-8, too many digits, too many brackets
                raise SourceError(f"prompts {uri}, line {number}: not JSON. Remedy: {SCHEMA_REMEDY}") from None
            except (TypeError, KeyError):
                raise SourceError(
                    f"prompts {uri}, line {number}: not an object with id and prompt. Remedy: {SCHEMA_REMEDY}"
                ) from None
            yield f"line {number}", identity, prompt


def _lines(stream: Any) -> Iterator[bytes]:
    rest = b""
    while chunk := stream.read(1 << 20):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    if rest:
        yield rest


def _parquet(filesystem: pafs.FileSystem, path: str, uri: str) -> Iterator[tuple[str, Any, Any]]:
    with pq.ParquetFile(path, filesystem=filesystem) as file:
        if missing := [c for c in ("id", "prompt") if c not in file.schema_arrow.names]:
            found = ", ".join(file.schema_arrow.names)
            raise SourceError(
                f"prompts {uri}: no column {' and '.join(missing)} (it has {found}). Remedy: {SCHEMA_REMEDY}"
            )
        number = 0
        for batch in batches(file, ["id", "prompt"], 4096):
            for identity, prompt in zip(batch["id"], batch["prompt"], strict=True):
                number += 1
                try:
                    yield f"row {number}", identity.as_py(), prompt.as_py()
                except UnicodeDecodeError:
                    raise SourceError(
                        f"prompts {uri}, row {number}: not UTF-8. Remedy: write its texts as UTF-8 anew"
                    ) from None


def _checked_id(value: Any, place: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise SourceError(f"{place}: id is {value!r}, not a string or an integer. Remedy: {SCHEMA_REMEDY}")
    return _whole(value, f"{place}: id")


def _checked_prompt(value: Any, place: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise SourceError(f"{place}: prompt is {value!r:.40}, not a string. Remedy: {SCHEMA_REMEDY}")
    return None if value is None else _whole(value, f"{place}: prompt")


def _whole(text: str, what: str) -> str:
    """See that a text is one of whole characters: JSON's \\u escapes can name half of a pair."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise SourceError(
            f"{what} holds {half} at character {error.start + 1}, half of a surrogate pair, which is no character. "
            "Remedy: write the file with whole characters (in Python json.dumps(..., ensure_ascii=False), as UTF-8)"
        ) from None
    return text
