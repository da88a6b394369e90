"""Documents → passages, in Spark SQL expressions: DataFrame → DataFrame, narrow, no shuffle.

Only texts that may have been decoded wrongly go through Python (:mod:`etl.mojibake`).
"""

import functools
from collections.abc import Callable

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl import mojibake, pairs
from etl.config import CleaningConfig
from etl.gutenberg import without_gutenberg
from etl.words import is_ascii


def one_of(*ranges: tuple[int, int]) -> str:
    """The characters of Latin-1 in these ranges, each by itself: Java looks such a class up in a table of bits.

    A class with ranges is a chain of comparisons, three to five times as slow on text that has none of them.
    """
    return "".join(f"\\x{code:02x}" for first, last in ranges for code in range(first, last + 1))


# Java's syntax. Each pattern begins with what is rare, and is possessive where a plain one would be quadratic on a
# long run of blanks.
_ENDS, _OTHER_ENDS = one_of((0x0B, 0x0D), (0x85, 0x85)), r"\u2028\u2029"
_INVISIBLE = one_of((0x00, 0x08), (0x0E, 0x1F), (0x7F, 0x84), (0x86, 0x9F), (0xAD, 0xAD))
_OTHER_INVISIBLE = r"\ufeff\u200b"
LINE_END = rf"[{_ENDS}{_OTHER_ENDS}](?:(?<=\r)\n)?"
# A soft hyphen goes with the line end that follows it.
INVISIBLE = rf"[{_INVISIBLE}{_OTHER_INVISIBLE}](?:(?<=\u00ad)\n[ \t]*)?"
ODD_LATIN, ODD_OTHER = f"[{_ENDS}{_INVISIBLE}]", f"[{_OTHER_ENDS}{_OTHER_INVISIBLE}]"  # what either looks for
BLANKS_AT_LINE_END = r"[ \t\u00a0](?=[ \t\u00a0\n]|\z)(?<![ \t\u00a0]{2})[ \t\u00a0]*+(?=\n|\z)"
# Control sequences (ECMA-48): colours and movements, titles of windows, sets of characters.
TERMINAL_CODE = r"\x1b(?:\[[0-?]*+[ -/]*+[@-~]|\][^\x07\x1b\n]*+(?:\x07|\x1b\\)|[()*+][0-9A-Za-z]|[=>78])"
# As manual pages have them: a letter, a backspace, and the letter once more, or a line below it (before or after it).
UNDERLINED, OVERSTRUCK = r"([^_\s\x08])\x08_", r"[^\n\x08]\x08"
# A word cut at a line's end is joined; a single line end between two lines becomes a blank.
WRAPPED = ((r"(?<=\p{L})-\n[ \t]*(?=\p{Ll})", ""), (r"(?<=[^\n])\n[ \t]*(?=[^\n])", " "))

MOJIBAKE, REPAIRED = "UTF-8 that was decoded as something else", "_repaired"
PART_POSITIONS = 1 << 20  # passages that a part of a document may have: one of 8 MiB has at most 168,000


def without_terminal_codes(text: Column) -> Column:
    """Text that was meant for a terminal or printer, without colours, and with one of letters printed over each other."""
    coloured, struck = F.contains(text, F.lit("\x1b")), F.contains(text, F.lit("\b"))
    plain = F.when(coloured, F.regexp_replace(text, TERMINAL_CODE, "")).otherwise(text)
    return F.when(struck, F.regexp_replace(F.regexp_replace(plain, UNDERLINED, "$1"), OVERSTRUCK, "")).otherwise(plain)


def without_controls(text: Column) -> Column:
    """One kind of line end, and no invisible characters."""
    odd = F.rlike(text, F.lit(ODD_LATIN)) | (~is_ascii(text) & F.rlike(text, F.lit(ODD_OTHER)))
    return F.when(odd, F.regexp_replace(F.regexp_replace(text, LINE_END, "\n"), INVISIBLE, "")).otherwise(text)


def without_trailing_blanks(text: Column) -> Column:
    """No blanks at line ends. Indentation stays: in verse it has meaning."""
    # Literals are found several times as fast as the pattern.
    looks = [
        look for b in (" ", "\t", "\u00a0") for look in (F.contains(text, F.lit(f"{b}\n")), F.endswith(text, F.lit(b)))
    ]
    there = functools.reduce(lambda a, b: a | b, looks)
    return F.when(there, F.regexp_replace(text, BLANKS_AT_LINE_END, "")).otherwise(text)


def without_blank_lines(text: Column) -> Column:
    """One blank line in a row at most, none at either end."""
    end = F.lit("\n")
    # Asked first: trimming what is named copies a text character by character.
    ends = F.startswith(text, end) | F.endswith(text, end)
    trimmed = F.when(ends, F.trim(text, end)).otherwise(text)
    runs = F.contains(trimmed, F.lit("\n\n\n"))
    return F.when(runs, F.regexp_replace(trimmed, r"\n{3,}", "\n\n")).otherwise(trimmed)


def composed(text: Column) -> Column:
    """Unicode's normal form C, by the ICU4J that Spark brings: SQL has no such function, and Python is not needed.

    Text below U+0300 is in that form already, and is left as it is.
    """
    nfc = F.reflect(F.lit("com.ibm.icu.text.Normalizer"), F.lit("compose"), text, F.lit(False))  # False: canonical
    return F.when(~is_ascii(text) & F.rlike(text, F.lit(r"[^\x00-\u02ff]")), nfc).otherwise(text)


def unwrapped(text: Column) -> Column:
    """Join the hard-wrapped lines of each paragraph: good for scans and old e-mail, wrong for verse."""
    for pattern, replacement in WRAPPED:
        text = F.regexp_replace(text, pattern, replacement)
    return text


def steps(config: CleaningConfig) -> list[tuple[str, Callable[[Column], Column]]]:
    """The steps of cleaning in their order: a name, and a function text → text."""
    found: list[tuple[bool, str, Callable[[Column], Column]]] = [
        (config.repair_mojibake, MOJIBAKE, mojibake.repaired),
        (config.normalize_unicode, "Unicode's normal form C", composed),
        (True, "colours and overstruck letters of terminals", without_terminal_codes),
        (True, "line ends, control characters and others that nobody sees", without_controls),
        (True, "Project Gutenberg's headers and licences", without_gutenberg),
        (True, "blanks at line ends", without_trailing_blanks),
        (True, "blank lines", without_blank_lines),
        (config.join_wrapped_lines, "wrapped lines", unwrapped),
    ]
    return [(name, step) for wanted, name, step in found if wanted]


def clean(documents: DataFrame, config: CleaningConfig) -> DataFrame:
    """Clean ``text``; a document of which nothing is left gets the reason ``no_text``.

    Adds counts for :mod:`etl.tally`: characters read, unusable, and removed by each step, and lines repaired.
    """
    text, chars = F.col("text"), F.coalesce(F.length("text"), F.lit(0))
    usable = F.col("reason").isNull()
    columns = {"_read": chars, "_unusable": F.when(usable, 0).otherwise(chars), "text": F.when(usable, text)}
    documents = documents.withColumns(columns)
    for number, (name, step) in enumerate(steps(config)):  # a column per step, so that none is computed twice
        counted = {f"_step_{number - 1}": removed_chars(F.col("_before"), text)} if number else {}
        changed = {"text": step(text)}
        if name == MOJIBAKE:
            changed = dict(zip(("text", REPAIRED), mojibake.repaired_and_lines(text), strict=True))
        documents = documents.withColumns({**counted, "_before": text, **changed})
    last = removed_chars(F.col("_before"), text)
    reason = F.coalesce("reason", F.when(text == "", "no_text"))
    return documents.withColumns({f"_step_{number}": last, "reason": reason}).drop("_before")


def removed_chars(before: Column, after: Column) -> Column:
    """By how many characters a text became shorter. Where the bytes are as many as before nothing is counted."""
    same = F.octet_length(before) == F.octet_length(after)
    return F.when(before.isNull() | same, 0).otherwise(F.length(before) - F.length(after))


def passage_pattern(passage_chars: int) -> str:
    r"""Regular expression whose successive matches cut a cleaned text into passages of at most ``passage_chars``.

    Each match starts where the last one ended (``\G``), skips white space, and takes the first of: all that is left;
    as many whole paragraphs as fit; as many whole lines; as many whole words; as many characters. A cut that leaves
    less than a quarter of the size is passed over for the next finer one, so that a heading before a very long
    paragraph does not become a passage of its own. Each character is looked at a bounded number of times: 10 MB in one
    document take 1 to 2 s on one core, whether it has paragraphs, lines, or neither.
    """
    most, least = passage_chars, max(1, passage_chars // 4)
    # What follows a cut is looked for before what precedes it: it is rarer, and the search goes back over each place.
    paragraph, line, word = (rf"(?={end}(?<=\S{end}))" for end in (r"\n\n", r"\n", r"\s"))
    ends = [rf"{{{least},{most}}}{end}" for end in (paragraph, line, word)]
    cuts = [rf"{{1,{most}}}+\z", *ends, rf"{{1,{most}}}{word}", rf"{{1,{most}}}"]
    return rf"(?s)\G\s*+({'|'.join('.' + cut for cut in cuts)})"


def cut_passages(documents: DataFrame, passage_chars: int, *, whole: bool = False) -> DataFrame:
    """One row per passage: ``doc_id, position int, text, reason, file, tally``; only white space between them is lost.

    Positions within a document ascend; those of a long document's next part begin at the next multiple of
    PART_POSITIONS. A document with a reason keeps one row, without position and text. With ``whole`` none is cut, and
    one of more than ``passage_chars`` gets the reason ``pair_too_long``. ``tally`` stays with the first row of each.
    """
    fits = (F.length("text") <= passage_chars) & F.rlike("text", F.lit(r"\A\S"))  # the pattern would say the same
    pieces = F.regexp_extract_all("text", F.lit(passage_pattern(passage_chars)), F.lit(1))
    cut = F.when(fits, F.array("text")).otherwise(pieces)
    usable = F.when(F.col("reason").isNull(), F.array("text") if whole else cut)
    exploded = F.posexplode_outer(usable).alias("position", "text")
    passages = documents.select("doc_id", exploded, "reason", "file", "part", "tally")
    first = F.coalesce(F.col("position"), F.lit(0)) == 0
    passages = passages.withColumns(
        {"tally": F.when(first, F.col("tally")), "position": F.col("position") + F.col("part") * F.lit(PART_POSITIONS)}
    ).drop("part")
    if not whole:
        return passages
    return passages.withColumn("reason", F.coalesce("reason", F.when(F.length("text") > passage_chars, pairs.TOO_LONG)))


def with_row_id(passages: DataFrame) -> DataFrame:
    """Add ``row_id``: 32 hex digits of the SHA-256 of document, position and text; null without a passage."""
    identity = F.concat_ws("\x1f", "doc_id", F.col("position").cast("string"), "text")
    return passages.withColumn(
        "row_id", F.when(F.col("position").isNotNull(), F.substring(F.sha2(identity, 256), 1, 32))
    )
