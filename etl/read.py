"""Raw files → documents: a DataFrame of doc_id, text, reason, file. What cannot be used keeps a row with its reason."""

import csv
import functools
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from etl import pairs
from etl.config import SourceConfig
from etl.markup import texts_of
from etl.source import Source, SourceFile
from handoff.errors import SourceError
from handoff.store import Store

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession
    from pyspark.sql.types import DataType

CORRUPT = "_corrupt_record"


def read_documents(spark: "SparkSession", source: Source) -> "DataFrame":
    """One row per document: ``doc_id string, text string, reason string, file string``.

    A text, Markdown or HTML file is a document and its ``doc_id`` is its path below the source's root. In .jsonl, .csv
    and .parquet each record is one; its ``doc_id`` is the id column's value, or the text's SHA-256 where none is
    configured. With a completion column the text is both, see :mod:`etl.pairs`. In .jsonl a number or an object in the
    text's place is read as its JSON text, and left to the quality rules. ``reason`` is null for a usable
    document, else ``malformed_record``, ``no_id`` or ``no_text``. ``file`` is the record's file in .jsonl and .csv, for
    messages, and null elsewhere.
    """
    read = {"txt": _read_text, "markup": _read_markup, "jsonl": _read_jsonl, "csv": _read_csv, "parquet": _read_parquet}
    return read[source.format](spark, source)


def read_all(spark: "SparkSession", sources: Sequence[Source]) -> "DataFrame":
    """The documents of all sources; with several of them each id begins with the name of its source."""
    from pyspark.sql import functions as F

    if len(sources) == 1:
        return read_documents(spark, sources[0])
    named = []
    for source in sources:
        doc_id = F.concat(F.lit(f"{source.settings.name}/"), F.col("doc_id"))
        named.append(read_documents(spark, source).withColumn("doc_id", doc_id))
    return functools.reduce(lambda one, other: one.unionByName(other), named)


def engine_path(uri: str) -> str:
    """A local path or URI as Spark takes it: with a scheme, s3 by the s3a connector."""
    return re.sub(r"^s3://", "s3a://", uri) if "://" in uri else f"file://{uri}"


def _paths(source: Source) -> list[str]:
    """The files for a reader, which would take wildcards in their names for globs."""
    return [re.sub(r"([\\*?\[\]{},])", r"\\\1", engine_path(f.uri)) for f in source.files]


def _read_text(spark: "SparkSession", source: Source) -> "DataFrame":
    from pyspark.sql import functions as F

    return _with_empty(
        spark, source, _files(spark, source).select("doc_id", F.decode("content", source.settings.encoding))
    )


def _read_markup(spark: "SparkSession", source: Source) -> "DataFrame":
    files = _files(spark, source)
    return _with_empty(
        spark, source, files.mapInArrow(texts_of(source.settings.encoding), "doc_id string, text string")
    )


def _files(spark: "SparkSession", source: Source) -> "DataFrame":
    """``doc_id string, content binary`` of each file that is not empty."""
    from pyspark.sql import functions as F

    root = engine_path(source.root).replace("file://", "file:")  # as Spark prints it
    doc_id = F.substring("path", len(root) + 2, 1 << 20).alias("doc_id")
    return spark.read.format("binaryFile").load(_paths(source)).select(doc_id, "content")


def _with_empty(spark: "SparkSession", source: Source, texts: "DataFrame") -> "DataFrame":
    """Documents of ``doc_id, text``, and of the empty files, which Spark passes over."""
    from pyspark.sql import functions as F

    named = texts.toDF("doc_id", "text")
    reason = F.when(_is_blank(F.col("text")), "no_text").alias("reason")
    documents = named.select("doc_id", "text", reason, F.lit(None).cast("string").alias("file"))
    empty = [(f.name, "", "no_text", None) for f in source.files if not f.bytes]
    return documents.unionByName(spark.createDataFrame(empty, documents.schema)) if empty else documents


def _read_jsonl(spark: "SparkSession", source: Source) -> "DataFrame":
    from pyspark.sql import functions as F
    from pyspark.sql.types import StringType

    config = source.settings
    schema = _schema(config, StringType()).add(CORRUPT, StringType())
    reader = spark.read.schema(schema).option("maxStringLen", 2**31 - 1)  # beyond 20 MB a text else is malformed
    records = reader.json(_paths(source), mode="PERMISSIVE", columnNameOfCorruptRecord=CORRUPT)
    return _documents(records, config, F.col(CORRUPT).isNotNull(), F.col("_metadata.file_path"))


def _read_csv(spark: "SparkSession", source: Source) -> "DataFrame":
    from pyspark.sql import functions as F
    from pyspark.sql.types import StringType, StructType

    config = source.settings
    schema = StructType()
    for column in csv_header(source.files[0], config.encoding):  # Spark takes columns by their place: name all of them
        schema.add(column, StringType())
    records = spark.read.schema(schema.add(CORRUPT, StringType())).csv(
        _paths(source),
        header=True,
        multiLine=True,  # a text may have line ends
        escape='"',  # RFC 4180: a quotation mark is doubled
        encoding=config.encoding,
        mode="PERMISSIVE",
        columnNameOfCorruptRecord=CORRUPT,
    )
    return _documents(records, config, F.col(CORRUPT).isNotNull(), F.col("_metadata.file_path"))


def csv_header(file: SourceFile, encoding: str) -> list[str]:
    """The names in a .csv file's first record.

    Raises:
        UnicodeDecodeError: it is not in the encoding.
    """
    filesystem, path = Store("/").locate(file.uri)
    with filesystem.open_input_stream(path, compression=None) as stream:
        lines = io.TextIOWrapper(stream, encoding, newline="")
        return next(csv.reader(lines), [])


def _read_parquet(spark: "SparkSession", source: Source) -> "DataFrame":
    from pyspark.sql import functions as F

    config = source.settings
    schema = _schema(config, _id_type(source, config))
    records = spark.read.schema(schema).parquet(*_paths(source))
    return _documents(records, config, F.lit(False), F.lit(None).cast("string"))


def _schema(config: SourceConfig, id_type: "DataType"):  # type: ignore[no-untyped-def]
    from pyspark.sql.types import StringType, StructType

    schema = StructType().add(config.text_column, StringType())
    if config.completion_column is not None:
        schema.add(config.completion_column, StringType())
    if config.id_column is not None and config.id_column not in schema.names:
        schema.add(config.id_column, id_type)
    return schema


def _documents(records: "DataFrame", config: SourceConfig, malformed: "Column", file: "Column") -> "DataFrame":
    from pyspark.sql import functions as F

    text, blank = F.col(f"`{config.text_column}`"), _is_blank(F.col(f"`{config.text_column}`"))
    if config.completion_column is not None:
        completion = F.col(f"`{config.completion_column}`")
        text, blank = pairs.joined(text, completion), blank | _is_blank(completion)
    doc_id = F.col(f"`{config.id_column}`").cast("string") if config.id_column else F.sha2(text, 256)
    reason = F.when(malformed, "malformed_record").when(blank, "no_text").when(doc_id.isNull(), "no_id")
    return records.select(doc_id.alias("doc_id"), text.alias("text"), reason.alias("reason"), file.alias("file"))


def _is_blank(text: "Column") -> "Column":
    from pyspark.sql import functions as F

    return text.isNull() | ~F.rlike(text, F.lit(r"\S"))


def _id_type(source: Source, config: SourceConfig) -> "DataType":
    """Spark's type of the id column, which all files must share."""
    from pyspark.sql.types import IntegerType, LongType, StringType

    if config.id_column is None:
        return StringType()
    spark_types = {"string": StringType(), "large_string": StringType(), "int32": IntegerType(), "int64": LongType()}
    types = {str(_arrow_type(f, config.id_column)): f for f in source.files}
    unknown = [f"{f.uri}: {t}" for t, f in types.items() if t not in spark_types]
    if unknown or len({spark_types[t] for t in types}) > 1:
        detail = "; ".join(unknown or [f"{f.uri}: {t}" for t, f in types.items()])
        raise SourceError(
            f"column {config.id_column!r} must be a string or an integer, the same in all files ({detail}). "
            "Remedy: write the files again, or unset corpus.source.id_column"
        )
    return spark_types[next(iter(types))]


def _arrow_type(file: SourceFile, column: str) -> pa.DataType:
    filesystem, path = Store("/").locate(file.uri)
    with pq.ParquetFile(path, filesystem=filesystem) as parquet:
        return parquet.schema_arrow.field(column).type
