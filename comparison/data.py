"""The input of every stage: tables of documents and of their metadata at a given size, the same for all engines."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

TABLES_VERSION = 1  # raise when the tables of a seed change
FILE_BYTES = 8 << 20  # of text: several files for each of a few cores at 100 MB
ROW_GROUP_BYTES = 2 << 20
WORDS = 40_000
SOURCES = tuple(f"source-{n:02d}" for n in range(24))
DOCUMENTS = pa.schema([("document_id", pa.int64()), ("source", pa.string()), ("text", pa.string())])
METADATA = pa.schema([("document_id", pa.int64()), ("licence", pa.string()), ("year", pa.int32())])
_DUPLICATE, _NEAR, _UNTIDY = 0.08, 0.06, 0.1  # shares of documents; web crawls have more, books fewer


def generated(megabytes: float, seed: int) -> Iterator[tuple[str, str]]:
    """Source and text of made-up documents, ``megabytes`` of text in all, the same for a seed.

    Words follow Zipf's law, lengths a log-normal law (median 1,100 characters). Some documents repeat an earlier one of
    the last thousand, some change a few words of it, some have blanks and control characters to clean away.
    """
    draw = np.random.Generator(np.random.PCG64([seed, 1]))
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    lengths = draw.integers(2, 11, WORDS)
    words = np.array(["".join(draw.choice(letters[: 8 + n % 18], n)) for n in lengths], dtype=object)
    weights = 1.0 / np.arange(2, WORDS + 2)
    cumulative = np.cumsum(weights / weights.sum())
    shares = np.cumsum(1.0 / np.arange(1, len(SOURCES) + 1))
    shares /= shares[-1]
    recent: list[list[str]] = []
    left = megabytes * 1e6
    while left > 0:
        kind = draw.random()
        if recent and kind < _DUPLICATE + _NEAR:
            chosen = list(recent[int(draw.integers(len(recent)))])
            if kind > _DUPLICATE:
                for place in draw.integers(0, len(chosen), 1 + len(chosen) // 60):
                    chosen[place] = words[int(np.searchsorted(cumulative, draw.random()))]
        else:
            count = int(np.clip(draw.lognormal(5.2, 0.6), 8, 4000))
            chosen = list(words[np.searchsorted(cumulative, draw.random(count))])
        text = " ".join(chosen)
        recent.append(chosen)
        recent = recent[-1000:]
        if draw.random() < _UNTIDY:
            text = f"  {text[: len(text) // 2]} \t\x07 {text[len(text) // 2 :]}\r\n"
        left -= len(text)
        yield SOURCES[int(np.searchsorted(shares, draw.random()))], text


def write_tables(rows: Iterator[tuple[str, str]], directory: Path, seed: int) -> dict[str, Any]:
    """Write ``documents/`` and ``metadata/`` once; a directory that is complete stays as it is.

    Args:
        rows: source and text of each document.

    Returns:
        Rows and characters of the documents.
    """
    mark = directory / "_COMPLETE"
    if not mark.exists():
        import shutil

        shutil.rmtree(directory, ignore_errors=True)
        rows_written, characters = _write_documents(rows, directory / "documents")
        _write_metadata(rows_written, directory / "metadata", seed)
        mark.write_text(f"{rows_written} {characters}")
    count, characters = map(int, mark.read_text().split())
    return {"rows": count, "characters": characters}


def _write_documents(rows: Iterator[tuple[str, str]], directory: Path) -> tuple[int, int]:
    directory.mkdir(parents=True)
    number = characters = part = 0
    ids: list[int] = []
    sources: list[str] = []
    texts: list[str] = []
    size = 0

    def flush() -> None:
        nonlocal part, ids, sources, texts, size
        if not ids:
            return
        table = pa.table([ids, sources, texts], schema=DOCUMENTS)
        group = max(1, len(ids) * ROW_GROUP_BYTES // max(size, 1))
        pq.write_table(table, directory / f"part-{part:05d}.parquet", row_group_size=group, compression="zstd")
        part, ids, sources, texts, size = part + 1, [], [], [], 0

    for source, text in rows:
        ids.append(number)
        sources.append(source)
        texts.append(text)
        number, size, characters = number + 1, size + len(text), characters + len(text)
        if size >= FILE_BYTES:
            flush()
    flush()
    return number, characters


def _write_metadata(documents: int, directory: Path, seed: int) -> None:
    """One row for nine documents in ten, and as many again in ten for documents that are not there."""
    directory.mkdir(parents=True)
    draw = np.random.Generator(np.random.PCG64([seed, 2]))
    known = np.flatnonzero(draw.random(documents) < 0.9)
    absent = np.arange(documents, documents + documents // 10)
    ids = draw.permutation(np.concatenate([known, absent]))
    licences = np.array(["CC0", "CC-BY", "CC-BY-SA", "public domain"])[draw.integers(0, 4, len(ids))]
    table = pa.table([ids, licences, draw.integers(1600, 2026, len(ids)).astype(np.int32)], schema=METADATA)
    pq.write_table(table, directory / "part-00000.parquet", row_group_size=1 << 17, compression="zstd")
