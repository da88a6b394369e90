"""Writing a split: rows in a global, seeded order, in files and row groups of the configured size."""

import io
import math
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.config import LayoutConfig
from etl.pairs import SEPARATOR
from handoff.budget import MIB, Budget
from handoff.errors import ConfigError
from handoff.schema import CORPUS

ROW_OVERHEAD_BYTES = 56  # row_id 32, position 4, three length prefixes of 4, and slack for levels and page headers
SAMPLE_ROWS = 500  # compressed once to learn how far zstd shrinks this text
DEVIATIONS = 6.0  # a row group's sum stays within this many standard deviations but once in 10^9


@dataclass(frozen=True)
class RowBytes:
    """Uncompressed Parquet bytes of the rows of one split."""

    rows: int
    total: int
    deviation: float  # standard deviation of one row
    largest: int


@dataclass(frozen=True)
class SplitLayout:
    files: int
    rows_per_group: int


def row_bytes() -> Column:
    """Bytes of a row of the corpus schema as Parquet stores it before compression, rounded up."""
    return F.octet_length("text") + F.octet_length("doc_id") + F.lit(ROW_OVERHEAD_BYTES)


def budget(config: LayoutConfig) -> Budget:
    """The configured limits, which the publisher checks the written files against."""
    return Budget(
        max_row_group_bytes=int(config.row_group_mib * MIB),
        max_files=config.max_files,
        target_file_bytes=int(config.target_file_mib * MIB),
    )


def sample(rows: DataFrame, seed: int) -> pa.Table:
    """The first SAMPLE_ROWS rows in the order of the seed, with the corpus schema.

    As Arrow, for which a shuffle brings each partition's first rows to one task. ``collect`` would bring those of all
    partitions to the driver: half a megabyte of each, and at some 70 GB of text more than the 1 GiB that it takes.
    """
    first = rows.select(*CORPUS.names).orderBy(shuffle_key(seed), "row_id").limit(SAMPLE_ROWS)
    return first.toArrow().cast(CORPUS)


def compression_ratio(sampled: pa.Table) -> float:
    """Compressed by uncompressed bytes of sampled rows, by zstd in Parquet."""
    buffer = io.BytesIO()
    pq.write_table(sampled, buffer, compression="zstd", use_dictionary=["doc_id"])
    uncompressed = pq.ParquetFile(buffer).metadata.row_group(0).total_byte_size
    return buffer.tell() / uncompressed


def plan_split(measured: RowBytes, ratio: float, config: LayoutConfig) -> SplitLayout:
    """How many files a split gets, and how many rows a row group.

    After the global shuffle the rows of a group are a random sample of the split, so that k of them take about
    ``k * mean ± DEVIATIONS * deviation * sqrt(k)`` bytes: k is the largest number for which this fits, or the number
    that fits even if all rows are the largest.

    Raises:
        ConfigError: a single row is larger than a row group may be.
    """
    limit = config.row_group_mib * MIB
    if measured.largest > limit:
        raise ConfigError(
            f"a passage takes {measured.largest / MIB:.2f} MiB, a row group may have {config.row_group_mib}. "
            "Remedy: raise corpus.layout.row_group_mib or lower corpus.passage_chars"
        )
    mean, spread = measured.total / measured.rows, DEVIATIONS * measured.deviation
    root = (math.sqrt(spread**2 + 4 * mean * limit) - spread) / (2 * mean)
    files = math.ceil(measured.total * ratio / (config.target_file_mib * MIB))
    return SplitLayout(files=max(1, files), rows_per_group=max(1, int(root**2), int(limit // measured.largest)))


def shuffle_key(seed: int) -> Column:
    """A row's place in the global order: 63 bits of a hash of its id and the seed."""
    return F.shiftrightunsigned(F.xxhash64("row_id", F.lit(seed)), 1)


def ordered(rows: DataFrame, files: int, seed: int, columns: list[Column]) -> DataFrame:
    """One split's rows in as many partitions as it gets files, each in its order.

    Which file a row is in, and where, follows from its id and the seed alone, not from partitions or cores: file i of
    n holds the i-th n-th of the hash's range, in the hash's order. ``columns`` follow row_id, doc_id and position.
    """
    file_index = F.shiftright(F.shiftright("_key", 32) * F.lit(files), 31).cast("int")  # of 31 bits, n parts
    return (
        rows.withColumn("_key", shuffle_key(seed))
        .repartitionById(files, file_index)
        .sortWithinPartitions("_key", "row_id")
        .select(
            F.col("row_id").cast("string"),
            F.col("doc_id").cast("string"),
            F.col("position").cast("int"),
            *columns,
        )
    )


def write_split(
    rows: DataFrame, uri: str, layout: SplitLayout, config: LayoutConfig, seed: int, *, pairs: bool = False
) -> None:
    """Write one split's rows (with the columns of the corpus schema) as Parquet files below ``uri``.

    With ``pairs`` their texts are taken apart into the columns of the schema PAIRS.
    """
    text = F.col("text")
    halves = {"prompt": F.substring_index(text, SEPARATOR, 1), "completion": F.substring_index(text, SEPARATOR, -1)}
    columns = halves if pairs else {"text": text}
    writer = (
        ordered(rows, layout.files, seed, [column.cast("string").alias(name) for name, column in columns.items()])
        .write.mode("append")  # the directory is this attempt's alone, and empty
        .option("compression", "zstd")
        .option("parquet.block.size", int(config.row_group_mib * MIB))
        .option("parquet.block.row.count.limit", layout.rows_per_group)
        # Each id and text occurs once: a dictionary of them is work thrown away.
        .option("parquet.enable.dictionary#row_id", "false")
    )
    for name in columns:
        writer = writer.option(f"parquet.enable.dictionary#{name}", "false")
        # Nobody filters by the text itself; its minimum and maximum would make footers as large as pages.
        writer = writer.option(f"parquet.column.statistics.enabled#{name}", "false")
    writer.parquet(uri)
