"""Cleaning keeps the language and drops the rest; cutting loses nothing and never exceeds the size."""

import hashlib
import re
import time
from typing import Any

import pytest

from etl.config import CleaningConfig
from etl.transforms import clean, cut_passages, steps, with_row_id

GUTENBERG = (
    "The Project Gutenberg eBook of Verses\nYou may copy it, give it away.\n\n"
    "*** START OF THE PROJECT GUTENBERG EBOOK VERSES ***\n\nShall I compare thee\n\n"
    "*** END OF THE PROJECT GUTENBERG EBOOK VERSES ***\nUpdated editions will replace the previous one."
)
OLD_GUTENBERG = (
    "Legal advisor\n*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*\nShall I\n"
    "End of the Project Gutenberg Etext of Verses\n"
)
LICENCE = "Updated editions will replace the previous one.\n\nSection 1. General Terms\n\nhear about new eBooks.\n"
FIRST = GUTENBERG.replace("Verses", "First").replace("VERSES", "FIRST")
WRAPPED_TITLE = (
    "The Project Gutenberg eBook of Long\n\nThis ebook is for the use of anyone anywhere\n\n"
    "*** START OF THIS PROJECT GUTENBERG EBOOK THE ADVENTURES OF\nSHERLOCK HOLMES ***\n\nTo Holmes she is\n\n"
    "End of the Project Gutenberg EBook of The Adventures of Sherlock\n\n"
    "*** END OF THIS PROJECT GUTENBERG EBOOK THE ADVENTURES OF\nSHERLOCK HOLMES ***\n\n"
    "***** This file should be named 1661.txt *****\n" + LICENCE
)
QUOTING = (
    "How to clean Project Gutenberg files\n\nEach begins with a line like\n\n"
    "*** START OF THE PROJECT GUTENBERG EBOOK HAMLET ***\n\nand ends with one like\n\n"
    "*** END OF THE PROJECT GUTENBERG EBOOK HAMLET ***\n\nThen comes the licence of Project Gutenberg. Remove both."
)
OLD_TWO = (
    "***The Project Gutenberg Etext of One***\nCopyright laws are changing all over the world\n"
    "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*\nShall I\n"
    "End of the Project Gutenberg Etext of One\n\n\n**The Project Gutenberg Etext of Two**\nCopyright laws are changing\n"
    "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*\ncompare thee\n"
    "End of this Project Gutenberg Etext of Two\n"
)
APPENDIX = GUTENBERG.replace(
    "Updated editions will replace the previous one.", "An appendix by the editor of this file."
)
CLEANED = [
    (
        "\x1b[1;31merror\x1b[0m: \x1b]0;title\x07line 3\x1b[K \x1b(Bof [5] \x1b[38;5;12mblue\x1b[m",
        "error: line 3 of [5] blue",
    ),
    ("N\bNA\bAM\bME\bE  l\bl_\bs - _\bl_\bi_\bs_\bt o\b_n\b_, _\b_x", "NAME  ls - list on, _x"),
    ("3\b33\b3 \x1b[4m+\b+o\x1b[24m", "33 +o"),
    (f"{FIRST}\n{GUTENBERG}", "Shall I compare thee\n\nShall I compare thee"),  # `cat` of two books
    (f"{GUTENBERG}\n{LICENCE}{FIRST}\n{LICENCE}{GUTENBERG}", "\n\n".join(["Shall I compare thee"] * 3)),
    (OLD_TWO, "Shall I\n\ncompare thee"),
    (WRAPPED_TITLE, "To Holmes she is"),
    (QUOTING, QUOTING),
    (
        APPENDIX,
        "Shall I compare thee\n\n*** END OF THE PROJECT GUTENBERG EBOOK VERSES ***\n"
        "An appendix by the editor of this file.",
    ),
    ("\ufeffone\r\ntwo\rthree\u2028four", "one\ntwo\nthree\nfour"),
    ("a\x00b\x07c\x1bd\te", "abcd\te"),
    ("exam\u00adple, exam\u00ad\n  ple", "example, example"),
    ("trailing  \t\n  indented \n\n\n\n \nend\n\n", "trailing\n  indented\n\nend"),
    (GUTENBERG, "Shall I compare thee"),
    (OLD_GUTENBERG, "Shall I"),
    ("He spoke of Project Gutenberg and of the END OF all", "He spoke of Project Gutenberg and of the END OF all"),
    (
        "cafe\u0301 \u1100\u1161 A\u030a \ufb01",
        "caf\u00e9 \uac00 \u00c5 \ufb01",
    ),  # composed, nothing replaced by its like
    (
        "Caf\u00c3\u00a9 na\u00c3\u00afve, it\u00e2\u20ac\u2122s \u00f0\u0178\u02dc\u20ac; \u201cdone\u201d \u0394",
        "Caf\u00e9 na\u00efve, it\u2019s \U0001f600; \u201cdone\u201d \u0394",
    ),
    ("\u00abCAF\u00c9\u00bb \u00c2\u00a9", "\u00abCAF\u00c9\u00bb \u00a9"),
    ("SENTEN\u00c7A \u00c3\u00bb " * 3, ("SENTEN\u00c7A \u00fb " * 3).rstrip()),
    ("one\r\r\ntwo\x0b\nthree \u00a0 \n", "one\n\ntwo\n\nthree"),
    ("na\u00efve \u2013 \u00abquoted\u00bb \U0001f600", "na\u00efve \u2013 \u00abquoted\u00bb \U0001f600"),
]


def documents(spark: Any, *texts: str, reason: str | None = None) -> Any:
    rows = [(f"doc{i}", text, reason, None, 0, None) for i, text in enumerate(texts)]
    schema = "doc_id string, text string, reason string, file int, part int, tally array<long>"
    return spark.createDataFrame(rows, schema)


def passages(spark: Any, text: str, passage_chars: int) -> list[str]:
    rows = cut_passages(documents(spark, text), passage_chars).collect()
    assert [row.position for row in rows] == list(range(len(rows)))
    return [row.text for row in rows]


def test_cleaning(spark: Any) -> None:
    cleaned = [row.text for row in clean(documents(spark, *(raw for raw, _ in CLEANED)), CleaningConfig()).collect()]
    assert cleaned == [expected for _, expected in CLEANED]


def test_characters_that_a_step_removes_are_counted(spark: Any) -> None:
    raw = "one \r\n\r\n\r\n\r\ntwo\x07 e\u0301 \u00c3\u00a9\u00c3\u00a9\u00c3\u00a9\n"
    done = clean(documents(spark, raw), CleaningConfig()).first()
    assert done.text == "one\n\ntwo \u00e9 \u00e9\u00e9\u00e9"
    removed = [done[f"_step_{number}"] for number in range(len(steps(CleaningConfig())))]
    assert removed == [3, 1, 0, 5, 0, 1, 3] and done._read == len(raw) == len(done.text) + sum(removed)


def test_steps_can_be_left_out_and_wrapped_lines_joined(spark: Any) -> None:
    raw = "exam-\nple of a hard-\nwrapped e\u0301\n  line, X-\nRay \u00c3\u00a9\u00c3\u00a9\u00c3\u00a9\n\nnext"
    config = CleaningConfig(normalize_unicode=False, repair_mojibake=False, join_wrapped_lines=True)
    (row,) = clean(documents(spark, raw), config).collect()
    assert row.text == "example of a hardwrapped e\u0301 line, X- Ray \u00c3\u00a9\u00c3\u00a9\u00c3\u00a9\n\nnext"


def test_a_document_of_which_nothing_is_left_is_counted(spark: Any) -> None:
    row = cut_passages(clean(documents(spark, "\ufeff \r\n \x07"), CleaningConfig()), 100).first()
    assert (row.reason, row.position, row.text) == ("no_text", None, None)


def test_a_document_with_a_reason_keeps_one_row(spark: Any) -> None:
    row = cut_passages(clean(documents(spark, "left alone", reason="malformed_record"), CleaningConfig()), 100).first()
    assert (row.reason, row.position, row.text) == ("malformed_record", None, None)


def test_whole_paragraphs_are_packed(spark: Any) -> None:
    short, two_lines = "a b " * 5 + "a", "c d " * 8 + "c\n" + "e f " * 8 + "e"
    text = "\n\n".join([short, short, two_lines, short])  # 21, 21, 67 and 21 characters
    # A line and some words of the third paragraph would still fit into the first passage.
    assert passages(spark, text, 100) == [f"{short}\n\n{short}", f"{two_lines}\n\n{short}"]


def test_a_long_paragraph_is_cut_at_lines_then_words_then_anywhere(spark: Any) -> None:
    line = "x y " * 11 + "x"  # 45 characters: two lines fit, and some words of the third would
    words = " ".join(["y" * 30] * 4)
    assert passages(spark, "\n".join([line] * 3), 100) == [f"{line}\n{line}", line]
    assert passages(spark, words, 100) == [" ".join(["y" * 30] * 3), "y" * 30]
    assert passages(spark, "z" * 250, 100) == ["z" * 100, "z" * 100, "z" * 50]


def test_a_heading_stays_with_the_long_paragraph_below_it(spark: Any) -> None:
    paragraph = "\n".join(["x" * 45] * 6)
    assert passages(spark, f"ACT I\n\n{paragraph}", 200)[0].startswith("ACT I\n\nxxx")


@pytest.mark.parametrize("passage_chars", [100, 333, 5000])
def test_nothing_but_white_space_is_lost(spark: Any, passage_chars: int) -> None:
    text = "".join(
        f"Word{i}{' ' if i % 7 else chr(10)}{chr(10) * 2 if i % 53 == 0 else ''}" for i in range(3000)
    ).strip()
    text += " " + "q" * 700 + "\n\n\u00e9\U0001f600 end"
    found = passages(spark, text, passage_chars)
    assert "".join(re.sub(r"\s", "", p) for p in found) == re.sub(r"\s", "", text)
    assert max(map(len, found)) <= passage_chars
    assert all(p == p.strip() and p for p in found)


def test_a_long_document_is_cut_in_linear_time(spark: Any) -> None:
    from pyspark.sql import functions as F

    one_line = spark.range(1).select(
        F.lit("big").alias("doc_id"),
        F.repeat(F.concat(F.lit("wor"), "id", F.lit(" ")), 600_000).alias("text"),
        F.lit(None).cast("string").alias("reason"),
        F.lit(None).cast("int").alias("file"),
        F.lit(0).alias("part"),
        F.lit(None).cast("array<long>").alias("tally"),
    )
    start = time.monotonic()
    assert cut_passages(clean(one_line, CleaningConfig()), 1000).count() == 3_000
    assert time.monotonic() - start < 60  # 3 MB on one line take about 2 s; a quadratic cut takes hours


def test_row_ids_follow_document_position_and_text_alone(spark: Any) -> None:
    def ids(text: str) -> list[str]:
        return [
            row.row_id for row in with_row_id(cut_passages(documents(spark, text), 100)).orderBy("position").collect()
        ]

    first, second = "a" * 90, "b" * 90
    original, changed = ids(f"{first}\n\n{second}"), ids(f"{first}\n\n{'c' * 90}")
    assert all(re.fullmatch("[0-9a-f]{32}", i) for i in original)
    assert original[0] == changed[0] and original[1] != changed[1]
    # Written down so that a change of the formula, which gives every row of every corpus a new id, is noticed.
    assert ids("a") == [hashlib.sha256(b"doc0\x1f0\x1fa").hexdigest()[:32]]
