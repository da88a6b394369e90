"""Examples of what cleaning does: for each step the first place that it changes, before and after.

Only the first documents are searched. A step that changes none of them has no example.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from etl import privacy, transforms
from etl.config import CorpusConfig
from etl.read.files import OF_PAGES, SourceFile, parts_of
from etl.read.records import Record, records
from etl.read.source import Source

DOCUMENTS = 200
FILES_BYTES = 4 << 20
DOCUMENT_BYTES = 1 << 20  # longer ones are skipped
BEFORE, AFTER = 30, 90  # characters shown in front of a change and from it on


def changes(spark: SparkSession, sources: Sequence[Source], config: CorpusConfig) -> list[dict[str, str | None]]:
    """For each step of cleaning and kind of personal data: ``step``, ``doc_id``, ``before``, ``after``.

    No example shows personal data: they are replaced before the cleaning steps. Their own examples have no ``before``.
    """
    steps = transforms.steps(config.cleaning)
    kinds = privacy.kinds_of(config.privacy)
    public = privacy.redact(first_documents(spark, sources), config.privacy)
    texts = public.select("doc_id", F.col("text").alias("text_0"))
    for number, (_, step) in enumerate(steps):
        texts = texts.withColumn(f"text_{number + 1}", step(F.col(f"text_{number}")))
    found = []
    for number, (name, _) in enumerate(steps):
        before, after = F.col(f"text_{number}"), F.col(f"text_{number + 1}")
        found.append(_first(before != after, before.alias("before"), after.alias("after")).alias(name))
    for kind in kinds:
        text = F.col("text_0")
        found.append(_first(F.contains(text, F.lit(privacy.PLACEHOLDERS[kind])), text.alias("text")).alias(kind))
    firsts = texts.agg(*found).collect()[0]
    shown: list[dict[str, str | None]] = []
    for name, _ in steps:
        if row := firsts[name]:
            earlier, later = excerpts(row.before, row.after)
            shown.append({"step": name, "doc_id": row.doc_id, "before": earlier, "after": later})
    for kind in kinds:
        if row := firsts[kind]:
            place = around(row.text, row.text.index(privacy.PLACEHOLDERS[kind]))
            shown.append({"step": kind, "doc_id": row.doc_id, "before": None, "after": place})
    return shown


def first_documents(spark: SparkSession, sources: Sequence[Source]) -> DataFrame:
    """``doc_id, text`` of the usable ones among each source's first documents, by file name; the same every time."""
    rows = []
    for source in sources:
        usable = (r for r in _first_records(source) if r.text is not None and r.reason is None and not r.part)
        short = ((r.doc_id, r.text) for r in usable if len((r.text or "").encode()) <= DOCUMENT_BYTES)
        rows += list(islice(short, DOCUMENTS))
    return spark.createDataFrame(sorted(rows), "doc_id string, text string")


def _first_records(source: Source) -> Iterator[Record]:
    for file in first_files(source):
        for part in parts_of(file, 0, source.settings.encoding, FILES_BYTES)[:1]:
            yield from records(part, source.settings)


def first_files(source: Source) -> tuple[SourceFile, ...]:
    """The first files of texts up to FILES_BYTES, one at least; of records those of the first file are enough."""
    files, size = [source.files[0]], source.files[0].bytes
    for file in source.files[1:DOCUMENTS] if source.format in OF_PAGES else ():
        if (size := size + file.bytes) > FILES_BYTES:
            break
        files.append(file)
    return tuple(files)


def _first(where: Column, *texts: Column) -> Column:
    """``doc_id`` and texts of the document with the smallest id that meets the condition; null without one."""
    return F.min_by(F.when(where, F.struct("doc_id", *texts)), F.when(where, F.col("doc_id")))


def excerpts(before: str, after: str) -> tuple[str, str]:
    """Both texts around the first place where they differ."""
    at = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after)))
    return around(before, at), around(after, at)


def around(text: str, at: int) -> str:
    """The text around a place; control characters and the like as ``<U+00AD>``."""
    start = max(0, at - BEFORE)
    piece = text[start : at + AFTER]
    marked = "".join(c if c.isprintable() or c == "\n" else f"<U+{ord(c):04X}>" for c in piece)
    return f"{'…' if start else ''}{marked}{'…' if at + AFTER < len(text) else ''}"
