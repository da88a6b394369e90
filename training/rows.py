"""The rows of a corpus as token ids: plain passages, or prompts with completions of which only these are learnt."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from handoff import schema
from handoff.artifact import Artifact
from handoff.parquet import batches, reading_bytes
from handoff.run_dir import RunDir
from training.tokenizer import PassageTokenizer

ROWS_PER_BATCH = 512  # passages tokenised at a time
TEXT_COLUMNS = ("text", "prompt", "completion")


def open_corpus(run: RunDir, split: str | None = None) -> Artifact:
    """The corpus of a run, of schema CORPUS or PAIRS, whichever its columns are nearer to.

    Raises:
        ArtifactError: listing every mismatch; the split has no rows.
    """
    fields = run.artifact("corpus").manifest.fields or ()
    pairs = any(field["name"] == "completion" for field in fields)
    return run.artifact("corpus", schema=schema.PAIRS if pairs else schema.CORPUS, split=split)


def reader_bytes(corpus: Artifact, split: str) -> int:
    """Bytes of Arrow's memory that reading one file of a split takes: those of the largest row group of them all."""
    of_split = [f for f in corpus.manifest.files if f.split == split and f.rows]
    largest = max(of_split, key=lambda f: f.largest_row_group_bytes or 0)
    filesystem, path = corpus.store.locate(corpus.path_of(largest))
    with pq.ParquetFile(path, filesystem=filesystem) as file:
        return reading_bytes(file, TEXT_COLUMNS)


def read_rows(
    path: str, filesystem: Any, tokenizer: PassageTokenizer, *, end: bool
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


def _encode(batch: pa.RecordBatch, tokenizer: PassageTokenizer, end: bool) -> list[tuple[list[int], int]]:
    if "text" in batch.schema.names:
        return [(ids, 0) for ids in tokenizer.encode(batch["text"].to_pylist(), end=end)]
    # Apart, as in inference, where the prompt is all there is: a token never spans the seam.
    prompts = tokenizer.encode(batch["prompt"].to_pylist(), end=False)
    completions = tokenizer.encode(batch["completion"].to_pylist(), end=end, whole=False)
    return [(p + c, len(p)) for p, c in zip(prompts, completions, strict=True)]
