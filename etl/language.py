"""Drop documents in other languages: an option, and the only rule that runs in Python."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.config import LanguageConfig
from etl.langid import identify

SEEN_CHARS = 2_000  # of a document, from its start: more change the answer for few documents, and take longer
REASON = "other_language"


def keep_languages(documents: DataFrame, config: LanguageConfig) -> DataFrame:
    """Give the reason ``other_language`` to documents that are in none of the languages to keep.

    Only the beginning of each text goes through Python. Without a list of languages every document is kept.
    """
    if not config.keep:
        return documents
    seen = F.when(F.col("reason").isNull(), F.substring("text", 1, SEEN_CHARS))
    other = ~_is_kept(config.keep, config.min_probability)(seen)
    return documents.withColumn("reason", F.coalesce("reason", F.when(other, REASON)))


def _is_kept(keep: tuple[str, ...], least: float) -> Callable[..., Any]:
    def is_kept(texts: pa.Array) -> pa.Array:
        found = [None if text is None else identify(text) for text in texts.to_pylist()]
        return pa.array([None if t is None else t[0] in keep and t[1] >= least for t in found], pa.bool_())

    return F.arrow_udf(is_kept, "boolean")  # type: ignore[no-any-return, call-overload]
