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


def measures(text: "Column") -> "dict[str, Column]":
    """What the rules look at; columns, so that each is computed once though several rules use it."""
    from pyspark.sql import functions as F

    lines = F.filter(F.transform(F.split(text, "\n"), F.trim), lambda line: line != "")
    return {
        "_lines": F.size(lines),
        "_bullets": F.regexp_count(text, F.lit(r"(?m)^[ \t]*(?:[\u2022\u2023\u25cf\u25a0]|[-*] )")),
        "_ellipses": F.regexp_count(text, F.lit(r"(?m)(?:\.\.\.|\u2026)[ \t]*$")),
        "_symbols": F.regexp_count(text, F.lit(r"#|\.\.\.|\u2026")),
        "_digits": F.regexp_count(text, F.lit(r"\d")),
        "_words": F.size(F.split(F.trim(F.regexp_replace(text, r"\s+", " ")), " ")),
        "_visible": F.length(F.regexp_replace(text, r"\s+", "")),
        "_letters": F.length(F.regexp_replace(text, r"[^\p{L}\p{M}]+", "")),
        "_line_chars": F.length(F.array_join(lines, "")),
        "_distinct_line_chars": F.length(F.array_join(F.array_distinct(lines), "")),
    }


def rules(config: QualityConfig) -> list[Rule]:
    """The rules in the order in which they are tried, over the columns of :func:`measures`."""
    from pyspark.sql import functions as F

    words, visible, line_chars = F.col("_words"), F.col("_visible"), F.col("_line_chars")
    # By characters, not by lines: in a play's dialogue a third of the lines are the speakers' names again. The rule is
    # Gopher's dup_line_char_frac (Rae et al. 2021, table A1), and so is the default of 0.2.
    repeated_chars = line_chars - F.col("_distinct_line_chars")
    return [
        Rule("too_few_words", words < config.min_words),
        Rule("words_too_short", visible < words * config.min_mean_word_chars),
        Rule("words_too_long", visible > words * config.max_mean_word_chars),
        Rule("too_few_letters", F.col("_letters") < visible * config.min_letter_share),
        # Gopher (Rae et al. 2021, section A.1): symbols per word, bullet and ellipsis lines, stop words. The digits are
        # a rule of ours, for tables and logs, with a threshold of ours.
        Rule("too_many_symbols", F.col("_symbols") > words * config.max_symbol_word_ratio),
        Rule("too_many_digits", F.col("_digits") > visible * config.max_digit_share),
        Rule("bullet_lines", F.col("_bullets") > F.col("_lines") * config.max_bullet_line_share),
        Rule("ellipsis_lines", F.col("_ellipses") > F.col("_lines") * config.max_ellipsis_line_share),
        *_stop_words(config),
        Rule("repeated_lines", repeated_chars > line_chars * config.max_repeated_line_share),
    ]


def _stop_words(config: QualityConfig) -> list[Rule]:
    from pyspark.sql import functions as F

    if not config.stop_words:
        return []
    words = F.split(F.lower(F.regexp_replace("text", r"[^\p{L}\p{M}\p{N}]+", " ")), " ")
    listed = F.array(*(F.lit(word.lower()) for word in config.stop_words))
    return [Rule("too_few_stop_words", F.size(F.array_intersect(words, listed)) < config.min_stop_words)]


def judge(passages: "DataFrame", config: QualityConfig) -> "DataFrame":
    """Set ``reason`` of each passage that breaks a rule; rows that have a reason already keep it."""
    from pyspark.sql import functions as F

    measured = passages.withColumns(measures(F.col("text")))
    verdict = F.coalesce(*(F.when(rule.broken, rule.reason) for rule in rules(config)))
    reason = F.coalesce("reason", F.when(F.col("position").isNotNull(), verdict))
    return measured.withColumn("reason", reason).drop(*measures(F.col("text")))
