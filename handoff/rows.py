"""The rows of a corpus as token ids: plain passages, or prompts with completions of which only these are learnt."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from handoff import schema
from handoff.artifact import Artifact
from handoff.parquet import batches, reading_bytes
from handoff.run_dir import RunDir
from handoff.tokenizer import ModelTokenizer

ROWS_PER_BATCH = 512  # passages tokenised at a time
TEXT_COLUMNS = ("text", "prompt", "completion")


def open_corpus(run: RunDir, split: str | None = None) -> Artifact:
    """The corpus of a run, of schema CORPUS or PAIRS, whichever its columns are nearer to.

    Raises:
        ArtifactError: listing every mismatch; the split has no rows.
    """
    expected = schema.PAIRS if has_pairs(run.artifact("corpus")) else schema.CORPUS
    return run.artifact("corpus", schema=expected, split=split)


def has_pairs(corpus: Artifact) -> bool:
    """Whether a corpus has prompts with completions rather than text."""
    return any(field["name"] == "completion" for field in corpus.manifest.fields or ())


def reader_bytes(corpus: Artifact, split: str) -> int:
    """Bytes of Arrow's memory that reading one file of a split takes: those of the largest row group of them all."""
    of_split = [f for f in corpus.manifest.files if f.split == split and f.rows]
    largest = max(of_split, key=lambda f: f.largest_row_group_bytes or 0)
    filesystem, path = corpus.store.locate(corpus.path_of(largest))
    with pq.ParquetFile(path, filesystem=filesystem) as file:
        return reading_bytes(file, TEXT_COLUMNS)


def read_rows(
    path: str, filesystem: Any, tokenizer: ModelTokenizer, *, end: bool
) -> Iterator[list[tuple[list[int], int]]]:
    """Rows of a Parquet file, ROWS_PER_BATCH at a time; holds one row group in memory.

    Args:
        path: of the file.
        filesystem: pyarrow filesystem; None for a local file.
        tokenizer: of the base model.
        end: append the token that ends a passage.

    Yields:
        For each row its token ids, and how many of the first ones are its prompt (0 for plain text).
    """
    with pq.ParquetFile(path, filesystem=filesystem) as file:
        columns = [name for name in TEXT_COLUMNS if name in file.schema_arrow.names]
        for batch in batches(file, columns, ROWS_PER_BATCH):
            yield _encode(batch, tokenizer, end)


def first_rows(path: str, filesystem: Any, tokenizer: ModelTokenizer, count: int) -> list[dict[str, Any]]:
    """The first rows of a Parquet file as training sees them: ``text``, or ``prompt`` and ``completion``; ``ids``, with
    the end token; ``prompt_tokens``, how many of them are given."""
    with pq.ParquetFile(path, filesystem=filesystem) as file:
        columns = [name for name in TEXT_COLUMNS if name in file.schema_arrow.names]
        batch = next(batches(file, columns, count))
    encoded = _encode(batch, tokenizer, end=True)
    return [row | {"ids": ids, "prompt_tokens": n} for row, (ids, n) in zip(batch.to_pylist(), encoded, strict=True)]


def pair_borders(path: str, filesystem: Any, tokenizer: ModelTokenizer, count: int) -> tuple[int, dict[str, int]]:
    """How many of the first pairs of a Parquet file were looked at, and :meth:`ModelTokenizer.borders` of them."""
    with pq.ParquetFile(path, filesystem=filesystem) as file:
        batch = next(batches(file, ["prompt", "completion"], count))
    return len(batch), tokenizer.borders(batch["prompt"].to_pylist(), batch["completion"].to_pylist())


def _encode(batch: pa.RecordBatch, tokenizer: ModelTokenizer, end: bool) -> list[tuple[list[int], int]]:
    if "text" in batch.schema.names:
        return [(ids, 0) for ids in tokenizer.texts(batch["text"].to_pylist(), end=end)]
    return tokenizer.pairs(batch["prompt"].to_pylist(), batch["completion"].to_pylist(), end=end)
