"""Raw files → documents: a DataFrame of doc_id, part, text, reason, file and counts. Unusable records keep a row.

Python workers read the files with :mod:`etl.read.records`, as plan's check does; Spark's own readers are not used.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from etl.config import SourceConfig
from etl.read.files import Part, kind_of, parts_of
from etl.read.records import Record, records
from etl.read.source import Source
from etl.spark_conf import PARTITION_BYTES

LEAST_TASK_BYTES = 1 << 20
# The cost of opening a file, in bytes read: 12,000 files of 200 bytes are 24 tasks, not 12,000.
OPEN_BYTES = 64 << 10
PACKED_RATIO = 4  # of text, unpacked by packed bytes
BATCH_BYTES, BATCH_ROWS = 4 << 20, 4096

SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),
        ("text", pa.string()),
        ("reason", pa.string()),
        ("part", pa.int32()),
        ("raw_bytes", pa.int64()),
        ("invalid", pa.int64()),
        ("non_ascii", pa.int64()),
        ("markup_chars", pa.int64()),
        ("boilerplate_chars", pa.int64()),
        ("lost_bytes", pa.int64()),
        ("file", pa.int32()),
    ]
)
Task = list[tuple[int, Part]]  # parts, each with its source's place among the sources


def read_all(spark: SparkSession, sources: Sequence[Source]) -> DataFrame:
    """A row per document, or per part of a long one, with the columns of SCHEMA.

    A text, a page or a book is a document and its ``doc_id`` is its path below the source's root. In files of records each
    record is one; its ``doc_id`` is the id column's value, or the text's SHA-256 where none is
    configured. With several sources each id begins with the name of its source. With a completion column the text is
    both, see :mod:`etl.pairs`. ``reason`` is null for a usable document. ``file`` counts the files of all sources.
    """
    tasks = tasks_of(sources, spark.sparkContext.defaultParallelism)
    named = [(s.settings, f"{s.settings.name}/" if len(sources) > 1 else "") for s in sources]
    return spark.range(0, len(tasks), 1, len(tasks)).mapInArrow(_reader(tasks, named), _ddl())


def _ddl() -> str:
    types = {pa.string(): "string", pa.int32(): "int", pa.int64(): "long"}
    return ", ".join(f"{field.name} {types[field.type]}" for field in SCHEMA)


def files_of(sources: Sequence[Source]) -> list[tuple[Source, int]]:
    """All files in the order in which the column ``file`` counts them: source, and index among its files."""
    return [(source, number) for source in sources for number in range(len(source.files))]


def tasks_of(sources: Sequence[Source], cores: int) -> list[Task]:
    """The parts that each task reads: neighbours, about the same amount per task, small files together."""
    total = sum(_weight(Part(f)) for s in sources for f in s.files)
    size = max(LEAST_TASK_BYTES, min(PARTITION_BYTES, math.ceil(total / cores)))
    parts: Task = []
    index = 0
    for number, source in enumerate(sources):
        for file in source.files:
            parts += [(number, part) for part in parts_of(file, index, source.settings.encoding, size)]
            index += 1
    tasks: list[Task] = [[]]
    held = 0
    for number, part in parts:
        if tasks[-1] and held + _weight(part) / 2 > size:  # to the nearest part: as many tasks as cores, not one more
            tasks.append([])
            held = 0
        tasks[-1].append((number, part))
        held += _weight(part)
    return tasks


def _weight(part: Part) -> int:
    size = part.file.bytes if part.end is None else part.end - part.start
    if kind_of(part.file.name)[0] == "parquet" and part.end is not None:
        size = PARTITION_BYTES  # its bounds are row groups
    return OPEN_BYTES + size * (PACKED_RATIO if kind_of(part.file.name)[1] else 1)


def _reader(
    tasks: list[Task], named: list[tuple[SourceConfig, str]]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """For ``mapInArrow``: batches of ``id``, a task's number, to the rows of its parts."""

    def map_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column("id").to_pylist():
                yield from _batches(tasks[number], named)

    return map_batches


def _batches(task: Task, named: list[tuple[SourceConfig, str]]) -> Iterator[pa.RecordBatch]:
    rows: list[tuple[object, ...]] = []
    size = 0
    for source, part in task:
        settings, prefix = named[source]
        for record in records(part, settings):
            rows.append((*_prefixed(record, prefix), part.file_number))
            size += len(record.text or "")
            if size >= BATCH_BYTES or len(rows) >= BATCH_ROWS:
                yield _batch(rows)
                rows, size = [], 0
    yield _batch(rows)


def _prefixed(record: Record, prefix: str) -> Record:
    return record._replace(doc_id=prefix + record.doc_id) if prefix and record.doc_id is not None else record


def _batch(rows: list[tuple[object, ...]]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True) if rows else [()] * len(SCHEMA)
    return pa.RecordBatch.from_arrays(
        [pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
    )
