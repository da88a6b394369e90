"""Clean texts and drop poor ones, row by row: no shuffle, no model, so what is left is how fast rows pass through.

Each rule is one that Java's, RE2's and Rust's regular expressions decide alike. Tidy texts, which most are, are only
looked at: replacing every blank by a blank would measure how fast strings are copied.
"""

import functools
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from comparison.form import Form, Stage, Work
from comparison.stages import oracles
from comparison.stages.shared.tables import (
    in_ray,
    in_spark,
    read_polars,
    read_ray,
    read_spark,
    write_polars,
    write_ray,
    write_spark,
)

UNTIDY = r"[\x00-\x1f\x7f]|  |\A | \z"
CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
BLANKS = r"[ \t\r\n]+"
SYMBOL = r"[!-@\[-`{-~]"  # ASCII that is neither a letter nor a blank
SHORTEST, LONGEST = 300, 6_000  # characters
CHARACTERS_PER_SYMBOL = 4  # at least
SHORTEST_WORD, LONGEST_WORD = 3, 10  # mean characters of a word, as for Gopher (Rae et al. 2021, table A1)


def clean_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The rows whose ``text`` keeps the rules when it is cleaned; other columns pass through."""
    untidy = pc.match_substring_regex(batch["text"], UNTIDY)
    tidied = pc.replace_substring_regex(batch["text"].filter(untidy), CONTROL, "")
    tidied = pc.utf8_trim(pc.replace_substring_regex(tidied, BLANKS, " "), " ")
    text = pc.replace_with_mask(batch["text"], untidy, tidied)
    length, blanks = pc.utf8_length(text), pc.count_substring(text, " ")
    letters, words = pc.subtract(length, blanks), pc.add(blanks, 1)
    symbols = pc.count_substring_regex(text, SYMBOL)
    rules = (
        pc.greater_equal(length, SHORTEST),
        pc.less_equal(length, LONGEST),
        pc.greater_equal(length, pc.multiply(symbols, CHARACTERS_PER_SYMBOL)),
        pc.greater_equal(letters, pc.multiply(words, SHORTEST_WORD)),
        pc.less_equal(letters, pc.multiply(words, LONGEST_WORD)),
    )
    return batch.set_column(batch.schema.get_field_index("text"), "text", text).filter(functools.reduce(pc.and_, rules))


def cleaned_in_sql(documents: Any) -> Any:
    """The Spark DataFrame of what :func:`clean_batch` leaves of one with a column ``text``."""
    from pyspark.sql import functions as F

    from etl.transforms import one_of  # Java finds listed characters several times as fast as ranges

    text, blank = F.col("text"), F.lit(" ")
    untidy = F.rlike(text, F.lit(f"[{one_of((0x00, 0x1F), (0x7F, 0x7F))}]")) | F.contains(text, F.lit("  "))
    untidy = untidy | F.startswith(text, blank) | F.endswith(text, blank)
    tidied = F.regexp_replace(F.regexp_replace(text, CONTROL, ""), BLANKS, " ")
    tidy = F.when(untidy, F.trim(tidied)).otherwise(text)
    symbol = f"[{one_of((0x21, 0x40), (0x5B, 0x60), (0x7B, 0x7E))}]"
    length, symbols = F.length(text), F.regexp_count(text, F.lit(symbol))
    blanks = F.octet_length(text) - F.octet_length(F.replace(text, F.lit(" "), F.lit("")))
    letters, words = length - blanks, blanks + 1
    rules = length.between(SHORTEST, LONGEST) & (length >= symbols * CHARACTERS_PER_SYMBOL)
    rules = rules & letters.between(words * SHORTEST_WORD, words * LONGEST_WORD)
    return documents.withColumn("text", tidy).where(rules)


def spark_sql(work: Work) -> None:
    write_spark(cleaned_in_sql(read_spark(work, work.documents)), work)


def spark_python(work: Work) -> None:
    documents = read_spark(work, work.documents, "document_id", "source", "text")
    write_spark(documents.mapInArrow(in_spark(clean_batch), documents.schema), work)


def ray_python(work: Work) -> None:
    documents = read_ray(work, work.documents, "document_id", "source", "text")
    write_ray(documents.map_batches(in_ray(clean_batch), batch_format="pyarrow"), work)


def polars(work: Work) -> None:
    import polars as pl

    text = pl.col("text")
    tidied = text.str.replace_all(CONTROL, "").str.replace_all(BLANKS, " ").str.strip_chars(" ")
    tidy = pl.when(text.str.contains(UNTIDY)).then(tidied).otherwise(text)
    length, blanks = text.str.len_chars().cast(pl.Int64), text.str.count_matches(" ", literal=True).cast(pl.Int64)
    letters, words = length - blanks, blanks + 1
    symbols = text.str.count_matches(SYMBOL).cast(pl.Int64)
    rules = length.is_between(SHORTEST, LONGEST) & (length >= symbols * CHARACTERS_PER_SYMBOL)
    rules = rules & letters.is_between(words * SHORTEST_WORD, words * LONGEST_WORD)
    write_polars(read_polars(work.documents).with_columns(tidy).filter(rules), work)


STAGE = Stage(
    name="clean",
    title="Clean and filter",
    question="Which engine passes rows through rules fastest when nothing is shuffled?",
    forms=(
        Form("spark", "sql", spark_sql),
        Form("spark", "mapInArrow", spark_python, kernel="clean_batch"),
        Form("ray", "map_batches", ray_python, kernel="clean_batch"),
        Form("polars", "one process", polars, tunable=False),
    ),
    oracle=oracles.cleaned,
)
