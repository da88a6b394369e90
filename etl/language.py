"""Which language a document is in, by py3langid: an option, and the one rule that looks at a document in Python."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from etl.config import LanguageConfig
from handoff.errors import ConfigError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SEEN_CHARS = 2_000  # of a document, from its start: more of them change an answer in few documents, and take longer
REASON = "other_language"


def check_languages(config: LanguageConfig) -> str | None:
    """What will be kept, in a line; None for everything.

    Raises:
        ConfigError: a language that cannot be told apart.
    """
    if not config.keep:
        return None
    if unknown := sorted(set(config.keep) - languages()):
        raise ConfigError(
            f"corpus.language.keep: {', '.join(unknown)} cannot be told. Remedy: take some of {', '.join(sorted(languages()))}"
        )
    return f"documents in {', '.join(config.keep)}"


def keep_languages(documents: "DataFrame", config: LanguageConfig) -> "DataFrame":
    """Give the reason ``other_language`` to documents that are in none of the languages to keep.

    Only the beginning of each text goes through Python. Without languages to keep nothing is looked at.
    """
    if not config.keep:
        return documents
    from pyspark.sql import functions as F

    seen = F.when(F.col("reason").isNull(), F.substring("text", 1, SEEN_CHARS))
    other = ~_is_kept(config.keep, config.min_probability)(seen)
    return documents.withColumn("reason", F.coalesce("reason", F.when(other, REASON)))


def _is_kept(keep: tuple[str, ...], least: float) -> Callable[..., Any]:
    from pyspark.sql import functions as F

    def kept(texts: pa.Array) -> pa.Array:
        told = [None if text is None else identify(text) for text in texts.to_pylist()]
        return pa.array([None if t is None else t[0] in keep and t[1] >= least for t in told], pa.bool_())

    return F.arrow_udf(kept, "boolean")  # type: ignore[no-any-return, call-overload]


def identify(text: str) -> tuple[str, float]:
    """Language (ISO 639-1) and its probability among those that py3langid knows (Lui & Baldwin 2012)."""
    language, probability = _identifier().classify(text)
    return language, float(probability)


@functools.cache
def languages() -> frozenset[str]:
    """What can be told apart."""
    return frozenset(_identifier().labels)


@functools.cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
