"""Reading a Parquet file with the memory of one row group."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

# What a reader holds in addition to one row group's compressed columns: a batch of texts, and pages being unpacked.
READER_BYTES = 4 << 20


def batches(file: pq.ParquetFile, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    """Batches of at most ``rows`` rows, in order, one row group after the other.

    ``iter_batches`` over the whole file opens all row groups at once, and keeps their compressed columns to the end:
    three row groups of 60 MiB took 72 MiB of Arrow's memory, one at a time 26 (pyarrow 25).
    """
    for group in range(file.num_row_groups):
        yield from file.iter_batches(rows, columns=list(columns), row_groups=[group])


def reading_bytes(file: pq.ParquetFile, columns: Sequence[str]) -> int:
    """Arrow memory that :func:`batches` needs at most, from the footer: the largest row group, compressed, and a margin."""
    footer = file.metadata
    largest = 0
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        chunks = [group.column(i) for i in range(group.num_columns)]
        largest = max(largest, sum(c.total_compressed_size for c in chunks if c.path_in_schema in columns))
    return largest + READER_BYTES
