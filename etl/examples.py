"""What cleaning does to a corpus, shown: for each step the first place that it changes, before and after.

Looked for in the first documents only; a step that changes none of them is not in the list.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from etl import privacy, read, transforms
from etl.config import CorpusConfig
from etl.source import Source, SourceFile

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

DOCUMENTS = 200
FILES_BYTES = 4 << 20
DOCUMENT_BYTES = 1 << 20  # a longer one is passed over
BEFORE, AFTER = 30, 90  # characters shown in front of a change and from it on


def changes(spark: "SparkSession", sources: Sequence[Source], config: CorpusConfig) -> list[dict[str, str | None]]:
    """For each step of cleaning and kind of personal data: ``step``, ``doc_id``, ``before``, ``after``.

    Personal data are replaced in what is shown of the steps of cleaning; their own examples have no ``before``.
    """
    from pyspark.sql import functions as F

    documents = first_documents(spark, sources)
    steps = transforms.steps(config.cleaning)
    kinds = [kind for kind in privacy.PATTERNS if kind in config.privacy.replace]
    texts = privacy.redact(documents, config.privacy).select("doc_id", F.col("text").alias("text_0"))
    for number, (_, step) in enumerate(steps):
        texts = texts.withColumn(f"text_{number + 1}", step(F.col(f"text_{number}")))
    found = [_first(F.col(f"text_{n}"), F.col(f"text_{n + 1}"), str(n)) for n in range(len(steps))]
    changed = texts.agg(*found).first() if found else None
    shown: list[dict[str, str | None]] = []
    for number, (name, _) in enumerate(steps):
        if changed and (row := changed[str(number)]):
            before, after = excerpts(row.before, row.after)
            shown.append({"step": name, "doc_id": row.doc_id, "before": before, "after": after})
    return shown + _placeholders(documents, config, kinds)


def first_documents(spark: "SparkSession", sources: Sequence[Source]) -> "DataFrame":
    """``doc_id, text`` of the usable ones among each source's first documents, by file name; the same every time."""
    from pyspark.sql import functions as F

    heads = [replace(source, files=first_files(source)) for source in sources]
    rows = []
    for head in heads:
        documents = read.read_documents(spark, head)
        usable = documents.where(F.col("reason").isNull() & (F.octet_length("text") <= DOCUMENT_BYTES))
        rows += usable.select("doc_id", "text").limit(DOCUMENTS).collect()  # taken in the file's order
    return spark.createDataFrame(sorted(rows), "doc_id string, text string")


def first_files(source: Source) -> tuple[SourceFile, ...]:
    """The first files of texts up to FILES_BYTES, one at least; of records those of the first file are enough."""
    files, size = [source.files[0]], source.files[0].bytes
    for file in source.files[1:DOCUMENTS] if source.format in ("txt", "markup") else ():
        if (size := size + file.bytes) > FILES_BYTES:
            break
        files.append(file)
    return tuple(files)


def _first(before: "Column", after: "Column", name: str) -> "Column":
    """The document of the least id whose text changes."""
    from pyspark.sql import functions as F

    both = F.struct("doc_id", before.alias("before"), after.alias("after"))
    return F.min_by(F.when(before != after, both), F.when(before != after, F.col("doc_id"))).alias(name)


def _placeholders(documents: "DataFrame", config: CorpusConfig, kinds: Sequence[str]) -> list[dict[str, str | None]]:
    from pyspark.sql import functions as F

    redacted = privacy.redact(documents, config.privacy)
    marks = {kind: F.contains("text", F.lit(privacy.PLACEHOLDERS[kind])) for kind in kinds}
    found = [
        F.min_by(F.when(has, F.struct("doc_id", "text")), F.when(has, F.col("doc_id"))).alias(kind)
        for kind, has in marks.items()
    ]
    row = redacted.agg(*found).first() if found else None
    shown: list[dict[str, str | None]] = []
    for kind in kinds:
        if row and row[kind]:
            text = row[kind].text
            at = text.index(privacy.PLACEHOLDERS[kind])
            shown.append({"step": kind, "doc_id": row[kind].doc_id, "before": None, "after": around(text, at)})
    return shown


def excerpts(before: str, after: str) -> tuple[str, str]:
    """Both texts from a little in front of where they begin to differ."""
    at = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after)))
    return around(before, at), around(after, at)


def around(text: str, at: int) -> str:
    """What stands around a place of a text, control characters and the like as ``<U+00AD>``."""
    start = max(0, at - BEFORE)
    piece = text[start : at + AFTER]
    marked = "".join(c if c.isprintable() or c == "\n" else f"<U+{ord(c):04X}>" for c in piece)
    return f"{'…' if start else ''}{marked}{'…' if at + AFTER < len(text) else ''}"
