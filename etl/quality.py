"""Rules that drop a passage. Each is a named condition; a passage is counted under the first one that it breaks."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from etl.config import QualityConfig

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


@dataclass(frozen=True)
class Rule:
    """``broken`` is true for a passage to drop."""

    reason: str
    broken: "Column"


def rules(config: QualityConfig, text: "Column") -> list[Rule]:
    """The rules in the order in which they are tried."""
    from pyspark.sql import functions as F

    words = F.size(F.split(F.trim(F.regexp_replace(text, r"\s+", " ")), " "))
    visible_chars = F.length(F.regexp_replace(text, r"\s+", ""))
    letters = F.length(F.regexp_replace(text, r"[^\p{L}\p{M}]+", ""))
    lines = F.filter(F.transform(F.split(text, "\n"), F.trim), lambda line: line != "")
    repeated_lines = F.size(lines) - F.size(F.array_distinct(lines))
    mean_word_chars = visible_chars / words
    return [
        Rule("too_few_words", words < config.min_words),
        Rule("words_too_short", mean_word_chars < config.min_mean_word_chars),
        Rule("words_too_long", mean_word_chars > config.max_mean_word_chars),
        Rule("too_few_letters", letters < visible_chars * config.min_letter_share),
        Rule("repeated_lines", repeated_lines > F.size(lines) * config.max_repeated_line_share),
    ]


def judge(passages: "DataFrame", config: QualityConfig) -> "DataFrame":
    """Set ``reason`` of each passage that breaks a rule; rows that have a reason already keep it."""
    from pyspark.sql import functions as F

    verdicts = [F.when(rule.broken, rule.reason) for rule in rules(config, F.col("text"))]
    is_passage = F.col("position").isNotNull()
    return passages.withColumn("reason", F.coalesce("reason", F.when(is_passage, F.coalesce(*verdicts))))
