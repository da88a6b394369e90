"""Rules that drop a passage. Each is a named condition; a passage is counted under the first one that it breaks."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.config import QualityConfig
from etl.transforms import one_of
from etl.words import is_ascii, spaced

SHORT_LINE_CHARS = 30  # as FineWeb counts them
BLANKS = r" \n\t"  # all that a cleaned text has of blanks, once those of other kinds are replaced
ELLIPSIS_LINES = r"[.\u2026](?<=\.{3}|\u2026)[ \t]*+(?=\n|\z)"
NGRAM_WORDS = 5  # Gopher looks at runs of 5 to 10 words, each with a threshold of its own


@dataclass(frozen=True)
class Rule:
    """A passage breaks the rule where ``value`` lies below ``least`` or above ``most``, whichever is given."""

    reason: str
    value: Column
    least: float | None = None
    most: float | None = None

    @property
    def is_set(self) -> bool:
        return self.least is not None or self.most is not None

    @property
    def broken(self) -> Column:
        return self.value > self.most if self.most is not None else self.value < self.least  # type: ignore[operator]


def skeletons(text: Column) -> dict[str, Column]:
    """Short texts derived from a text and its ``_spaced``, in which :func:`measures` counts.

    Counting a pattern makes a string of each match, and replacing does not. For frequent matches such as words that
    takes half the time.
    """
    ascii_letters = one_of((0x41, 0x5A), (0x61, 0x7A))
    bare = F.regexp_replace("_spaced", f"[{ascii_letters}{BLANKS}]+", "")
    return {
        "_shape": F.regexp_replace("_spaced", f"[^{BLANKS}]+", "x"),
        "_unlettered": F.when(is_ascii(text), bare).otherwise(F.regexp_replace(bare, r"[\p{L}\p{M}]+", "")),
    }


def measures(text: Column) -> dict[str, Column]:
    """What the rules measure, over a cleaned text (it has no control characters) and its :func:`skeletons`.

    They are columns, so that each is computed once though several rules use it.
    """
    dotted = F.contains(text, F.lit("...")) | F.contains(text, F.lit("\u2026"))
    marked = dotted | F.contains(text, F.lit("#"))
    shape, unlettered = F.col("_shape"), F.col("_unlettered")
    blanks = F.length(F.replace(shape, F.lit("x"), F.lit("")))
    return {
        "_lines": F.filter(F.transform(F.split(text, "\n"), F.trim), lambda line: line != ""),
        "_bullets": F.regexp_count(text, F.lit(r"(?m)^[ \t]*(?:[\u2022\u2023\u25cf\u25a0]|[-*] )")),
        "_ellipses": F.when(dotted, F.regexp_count(text, F.lit(ELLIPSIS_LINES))).otherwise(0),
        "_symbols": F.when(marked, F.regexp_count(text, F.lit(r"[#\u2026.](?:(?<!\.)|\.\.)"))).otherwise(0),
        "_digits": F.length(F.regexp_replace(unlettered, r"\D+", "")),
        "_words": F.length(shape) - blanks,
        "_visible": F.length("_spaced") - blanks,
        "_unspaced": (F.length("_spaced") - F.length(text)) / 2,
        "_signs": F.length(unlettered),
    }


def rules(config: QualityConfig) -> list[Rule]:
    """The rules in the order in which they are tried, over the columns of :func:`measures`.

    Thresholds: Gopher (Rae et al. 2021, section A.1 and table A1) for words, symbols, bullets, ellipses, stop words and
    repeated lines and n-grams (by n-grams, where Gopher counts their characters); C4 (Raffel et al. 2020, section 2.2)
    for banned phrases; FineWeb (Penedo et al. 2024, section 3.5) for punctuation and short lines. Letters and
    digits are this project's own rules, for tables and logs.
    """
    lines, words, visible = F.col("_lines"), F.col("_words"), F.col("_visible")

    def share(part: Column, whole: Column) -> Column:
        return F.try_divide(part.cast("double"), whole.cast("double"))

    def line_share(condition: Callable[[Column], Column]) -> Column:
        return share(F.size(F.filter(lines, condition)), F.size(lines))

    # Of the words that have blanks around them, in texts that are mostly made of such.
    unspaced = F.col("_unspaced")
    mean_word = F.when(2 * unspaced < visible, share(visible - unspaced, words - unspaced))
    found = [
        Rule("too_few_words", words.cast("double"), least=config.min_words),
        Rule("words_too_short", mean_word, least=config.min_mean_word_chars),
        Rule("words_too_long", mean_word, most=config.max_mean_word_chars),
        Rule("too_few_letters", share(visible - F.col("_signs"), visible), least=config.min_letter_share),
        Rule("too_many_symbols", share(F.col("_symbols"), words), most=config.max_symbol_word_ratio),
        Rule("too_many_digits", share(F.col("_digits"), visible), most=config.max_digit_share),
        Rule("bullet_lines", share(F.col("_bullets"), F.size(lines)), most=config.max_bullet_line_share),
        Rule("ellipsis_lines", share(F.col("_ellipses"), F.size(lines)), most=config.max_ellipsis_line_share),
    ]
    if config.stop_words:
        in_text = F.split(F.lower(F.regexp_replace("_spaced", r"[^\p{L}\p{M}\p{N}]+", " ")), " ")
        listed = F.array(*(F.lit(word.lower()) for word in config.stop_words))
        met = F.size(F.array_intersect(in_text, listed)).cast("double")
        found.append(Rule("too_few_stop_words", met, least=config.min_stop_words))
    if config.banned_phrases:
        lower = F.lower("text")
        hits = [F.contains(lower, F.lit(phrase.lower())).cast("double") for phrase in config.banned_phrases]
        found.append(Rule("banned_phrase", functools.reduce(lambda a, b: a + b, hits), most=0))
    if config.min_punctuated_line_share > 0:
        ends = line_share(lambda line: F.rlike(line, F.lit(r"[.!?\u2026\u3002\uff01\uff1f]['\"\u201d\u2019)\]]*\z")))
        found.append(Rule("unpunctuated_lines", ends, least=config.min_punctuated_line_share))
    if config.max_short_line_share < 1:
        short = line_share(lambda line: F.length(line) < SHORT_LINE_CHARS)
        found.append(Rule("short_lines", short, most=config.max_short_line_share))
    if config.max_repeated_ngram_share < 1:
        found.append(Rule("repeated_ngrams", _repeated_ngram_share(), most=config.max_repeated_ngram_share))
    # By characters, not by lines: in a play's dialogue a third of the lines are the speakers' names again.
    chars, distinct = (F.length(F.array_join(a, "")) for a in (lines, F.array_distinct(lines)))
    repeated = F.when(F.size(F.array_distinct(lines)) < F.size(lines), share(chars - distinct, chars)).otherwise(0.0)
    found.append(Rule("repeated_lines", repeated, most=config.max_repeated_line_share))
    return [rule for rule in found if rule.is_set]


def _repeated_ngram_share() -> Column:
    """Share of runs of ``NGRAM_WORDS`` words, in any case, that stand earlier in the text; null in a shorter text."""
    words = F.split(F.lower(F.trim("_spaced")), r"\s+")
    starts = F.sequence(F.lit(0), F.size(words) - NGRAM_WORDS)
    runs = F.transform(starts, lambda at: F.xxhash64(*(F.get(words, at + n) for n in range(NGRAM_WORDS))))
    long_enough = F.size(words) >= NGRAM_WORDS
    repeated = F.size(runs) - F.size(F.array_distinct(runs))
    return F.when(long_enough, F.try_divide(repeated.cast("double"), F.size(runs).cast("double")))


def judge(passages: DataFrame, config: QualityConfig, *, pairs: bool = False) -> DataFrame:
    """Set ``reason`` of each passage that breaks a rule, and add ``value double``: what was measured for that rule.

    Rows that have a reason already keep it, without a value. Prompts with completions (``pairs``) are judged by the
    rules alone whose thresholds are set.
    """
    tried = rules(config if pairs else config.for_passages())
    if not tried:
        return passages.withColumn("value", F.lit(None).cast("double"))
    judged = F.col("reason").isNull() & F.col("position").isNotNull()
    verdict = F.coalesce(*(F.when(rule.broken, F.struct(F.lit(rule.reason), rule.value)) for rule in tried))
    texts, counts = skeletons(F.col("text")), measures(F.col("text"))
    spaced_out = passages.withColumn("_spaced", spaced(F.col("text")))
    measured = spaced_out.withColumns(texts).withColumns(counts).withColumn("_verdict", F.when(judged, verdict))
    found = measured.withColumn("value", F.col("_verdict.col2"))
    reason = F.coalesce("reason", F.col("_verdict.col1"))
    return found.withColumn("reason", reason).drop("_verdict", "_spaced", *texts, *counts)
