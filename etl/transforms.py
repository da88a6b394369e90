"""Documents → passages, in Spark SQL expressions: DataFrame → DataFrame, narrow, no shuffle."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

# (what, regular expression, replacement), applied in this order. Java's syntax. Possessive and anchored where a plain
# pattern would be quadratic on a long run of blanks.
CLEANING = (
    ("line ends", r"\r\n?|[\x0b\x0c\x85\u2028\u2029]", "\n"),
    ("byte order marks, zero-width and control characters", r"[\ufeff\u200b\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]", ""),
    ("soft hyphens, and the line end that one allowed", r"\u00ad(?:\n[ \t]*)?", ""),
    (
        "Project Gutenberg's header",
        r"(?is)\A.{0,40000}?(?:\*\*\* ?START OF TH(?:E|IS) PROJECT GUTENBERG|\*END[ *]+THE SMALL PRINT)[^\n]*(?:\n|\z)",
        "",
    ),
    (
        "Project Gutenberg's footer",
        r"(?is)(?:\*\*\* ?END OF TH(?:E|IS) PROJECT GUTENBERG|\nEnd of (?:the |this )?Project Gutenberg['’ ]).*\z",
        "",
    ),
    ("blanks at line ends", r"(?<![ \t\u00a0])[ \t\u00a0]++(?=\n|\z)", ""),
    ("runs of blank lines", r"\n{3,}", "\n\n"),
    ("blank lines at both ends", r"\A\n+|\n+\z", ""),
)


def cleaned(text: "Column") -> "Column":
    """A text without what carries no language: see ``CLEANING``. Indentation stays: in verse it has meaning."""
    from pyspark.sql import functions as F

    for _, pattern, replacement in CLEANING:
        text = F.regexp_replace(text, pattern, replacement)
    return text


def clean(documents: "DataFrame") -> "DataFrame":
    """Clean ``text``; a document of which nothing is left gets the reason ``no_text``."""
    from pyspark.sql import functions as F

    text = F.when(F.col("reason").isNull(), cleaned(F.col("text")))
    return documents.withColumn("text", text).withColumn(
        "reason", F.coalesce("reason", F.when(F.col("text") == "", "no_text"))
    )


def passage_pattern(passage_chars: int) -> str:
    r"""Regular expression whose successive matches cut a cleaned text into passages of at most ``passage_chars``.

    Each match starts where the last one ended (``\G``), skips white space, and takes the first of: all that is left;
    as many whole paragraphs as fit; as many whole lines; as many whole words; as many characters. A cut that leaves
    less than a quarter of the size is passed over for the next finer one, so that a heading before a very long
    paragraph does not become a passage of its own. Each character is looked at a bounded number of times: 10 MB in one
    document take 1 to 2 s on one core, whether it has paragraphs, lines, or neither.
    """
    most, least = passage_chars, max(1, passage_chars // 4)
    ends = [rf"{{{least},{most}}}(?<=\S)(?={end})" for end in (r"\n\n", r"\n", r"\s")]
    cuts = [rf"{{1,{most}}}\z", *ends, rf"{{1,{most}}}(?<=\S)(?=\s)", rf"{{1,{most}}}"]
    return rf"(?s)\G\s*+({'|'.join('.' + cut for cut in cuts)})"


def cut_passages(documents: "DataFrame", passage_chars: int) -> "DataFrame":
    """One row per passage: ``doc_id, position int, text, reason, file``; nothing but white space between them is lost.

    A document with a reason keeps one row, without position and text.
    """
    from pyspark.sql import functions as F

    found = F.regexp_extract_all("text", F.lit(passage_pattern(passage_chars)), F.lit(1))
    usable = F.when(F.col("reason").isNull(), found)
    return documents.select("doc_id", F.posexplode_outer(usable).alias("position", "text"), "reason", "file")


def with_row_id(passages: "DataFrame") -> "DataFrame":
    """Add ``row_id``: 32 hex digits of the SHA-256 of document, position and text; null without a passage."""
    from pyspark.sql import functions as F

    identity = F.concat_ws("\x1f", "doc_id", F.col("position").cast("string"), "text")
    return passages.withColumn(
        "row_id", F.when(F.col("position").isNotNull(), F.substring(F.sha2(identity, 256), 1, 32))
    )
