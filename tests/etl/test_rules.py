"""Quality rules, exact duplicates and splits: each passage is judged for one stated reason, groups stay together."""

from typing import Any

import pytest

from etl.config import QualityConfig, SplitConfig
from etl.dedup.config import DedupConfig
from etl.dedup.duplicates import mark_duplicates
from etl.quality import judge
from etl.split import assign, check_splits
from handoff.errors import ConfigError

SENTENCE = (
    "Shall I compare thee to a summer's day? Thou art more lovely and more temperate than the day itself, my love."
)
SCHEMA = "doc_id string, position int, text string, row_id string, reason string"


def passages(spark: Any, *rows: tuple[Any, ...]) -> Any:
    """Rows of (doc_id, position, text[, reason])."""
    full = [(doc, at, text, f"{doc}-{at}", *(rest or (None,))) for doc, at, text, *rest in rows]
    return spark.createDataFrame(full, SCHEMA)


def reasons(frame: Any) -> dict[str, str | None]:
    return {row.row_id: row.reason for row in frame.collect()}


@pytest.mark.parametrize(
    "blank", ["\u00a0", "\u2009", "\u202f", "\u3000", "\u1361", "\u2003", "\u1680", "\u205f", "\u2000"]
)
def test_blanks_of_every_kind_separate_words(spark: Any, blank: str) -> None:
    few, many = blank.join(["ሰላም"] * 19), blank.join(f"ሰላም{n % 7}" for n in range(60))
    judged = judge(
        passages(spark, ("few", 0, few), ("many", 0, many), ("own", 0, SENTENCE.replace(" ", blank))), QualityConfig()
    )
    found = {row.doc_id: (row.reason, row.value) for row in judged.collect()}
    assert found == {"few": ("too_few_words", 19.0), "many": (None, None), "own": (None, None)}


def test_each_rule_gives_its_reason_and_the_first_broken_one_counts(spark: Any) -> None:
    judged = judge(
        passages(
            spark,
            ("good", 0, SENTENCE),
            ("short", 0, "Too short, and 1 2 3 4 5 6."),
            ("tiny-words", 0, " ".join(["a"] * 30)),
            ("long-words", 0, " ".join(["x" * 13] * 30)),
            ("numbers", 0, " ".join(["1234 abc"] * 20)),
            ("chorus", 0, "\n".join([SENTENCE, SENTENCE, "And one more line"])),
            ("dialogue", 0, "\n".join(f"HAM.\n{SENTENCE[i : i + 60]}." for i in range(6))),
            ("symbols", 0, "# this and # that " * 10),
            ("digits", 0, "1 22 3 two and some words more " * 10 + "it."),
            ("tables", 0, "12 34 words 56 letters 78 and 9 " * 10),
            ("bullets", 0, "\n".join(f"- item {a}{b} of this list" for a in "abc" for b in "xyz")),
            (
                "ellipses",
                0,
                "\n".join(
                    [
                        *(f"go on reading about all the {w} \u2026" for w in "abc"),
                        *[f"a line {SENTENCE} {w}" for w in "cd"],
                    ]
                ),
            ),
            ("banned", 0, f"{SENTENCE} Please enable JavaScript, and again: javascript."),
            ("short-lines", 0, "\n".join(f"the short line of {w}." for w in "abcdefgh")),
            ("no-ends", 0, "\n".join(f"this line of two and the rest has no end {w}" for w in "abcd")),
            ("greek-words", 0, " ".join(f"logos{i} anthropos" for i in range(20))),
            ("dropped", 0, None, "no_text"),
        ),
        QualityConfig(
            max_digit_share=0.25,
            stop_words=("the", "of", "and", "two", "this", "a", "thee"),
            banned_phrases=("JavaScript", "lorem ipsum"),
            min_punctuated_line_share=0.12,
            max_short_line_share=0.67,
        ),
    ).persist()
    assert {r.row_id: r.value for r in judged.collect() if r.value is not None} == {
        "short-0": 9,
        "tiny-words-0": 1,
        "long-words-0": 13,
        "numbers-0": pytest.approx(3 / 7),
        "chorus-0": pytest.approx(len(SENTENCE) / (2 * len(SENTENCE) + 17)),
        "symbols-0": pytest.approx(2 / 5),
        "tables-0": pytest.approx(9 / 24),
        "bullets-0": 1,
        "ellipses-0": 0.6,
        "greek-words-0": 0,
        "banned-0": 1,
        "short-lines-0": 1,
        "no-ends-0": 0,
    }
    assert reasons(judged) == {
        "banned-0": "banned_phrase",
        "short-lines-0": "short_lines",
        "no-ends-0": "unpunctuated_lines",
        "good-0": None,
        "short-0": "too_few_words",
        "tiny-words-0": "words_too_short",
        "long-words-0": "words_too_long",
        "numbers-0": "too_few_letters",
        "chorus-0": "repeated_lines",
        "dialogue-0": None,  # speakers' names come again in every play
        "symbols-0": "too_many_symbols",
        "digits-0": None,
        "tables-0": "too_many_digits",
        "bullets-0": "bullet_lines",
        "ellipses-0": "ellipsis_lines",
        "greek-words-0": "too_few_stop_words",
        "dropped-0": "no_text",
    }


CHINESE = "\u56db\u6708\u91cc\u7684\u4e00\u4e2a\u6674\u6717\u800c\u5bd2\u51b7\u7684\u65e5\u5b50\uff0c\u949f\u6572\u4e86\u5341\u4e09\u4e0b\u3002\u201c\u4ed6\u8bf4\u201d"
JAPANESE = "\u543e\u8f29\u306f\u732b\u3067\u3042\u308b\u3002\u540d\u524d\u306f\u307e\u3060\u7121\u3044\u3002\u3069\u3053\u3067\u751f\u308c\u305f\u304b\u3068\u3093\u3068\u898b\u5f53\u304c\u3064\u304b\u306c\u3002"
THAI = "\u0e01\u0e32\u0e25\u0e04\u0e23\u0e31\u0e49\u0e07\u0e2b\u0e19\u0e36\u0e48\u0e07 \u0e19\u0e32\u0e19\u0e21\u0e32\u0e41\u0e25\u0e49\u0e27 \u0e21\u0e35\u0e40\u0e14\u0e47\u0e01\u0e2b\u0e0d\u0e34\u0e07\u0e04\u0e19\u0e2b\u0e19\u0e36\u0e48\u0e07"
LAO = "\u0e81\u0eb2\u0e99\u0e84\u0eb1\u0ec9\u0e87\u0edc\u0eb6\u0ec8\u0e87\u0e99\u0eb2\u0e99\u0ea1\u0eb2\u0ec1\u0ea5\u0ec9\u0ea7\u0ea1\u0eb5\u0ec0\u0e94\u0eb1\u0e81"
KHMER = "\u1780\u17b6\u179b\u1796\u17b8\u1796\u17d2\u179a\u17c1\u1784\u1793\u17b6\u1799\u1798\u17b6\u1793\u1780\u17d2\u1798\u17c1\u1784\u179f\u17d2\u179a\u17b8"
BURMESE = "\u101b\u103e\u1031\u1038\u101b\u103e\u1031\u1038\u1010\u102f\u1014\u103a\u1038\u1000\u1000\u101c\u1031\u1038\u1019\u101c\u1031\u1038\u1010\u1005\u103a\u101a\u1031\u102c\u1000\u103a"
KOREAN = "\ud55c\uad6d\uc5b4\ub294 \ub744\uc5b4\uc4f0\uae30\ub97c \ud569\ub2c8\ub2e4 "


def test_in_scripts_without_blanks_characters_are_counted(spark: Any) -> None:
    """And Korean, which has blanks, is counted by words."""
    texts = {"zh": CHINESE, "ja": JAPANESE, "th": THAI, "lo": LAO, "km": KHMER, "my": BURMESE, "ko": KOREAN * 8}
    rows = [(name, 0, text) for name, text in texts.items()]
    short = [("zh-short", 0, CHINESE[:12]), ("ko-short", 0, KOREAN * 6), ("mixed", 0, f"{CHINESE} {SENTENCE}")]
    judged = judge(passages(spark, *rows, *short), QualityConfig()).persist()
    assert reasons(judged) == {
        **{f"{name}-0": None for name in texts},
        "zh-short-0": "too_few_words",
        "ko-short-0": "too_few_words",
        "mixed-0": None,
    }
    assert {r.row_id: r.value for r in judged.collect() if r.value} == {"zh-short-0": 12, "ko-short-0": 18}


def test_repeated_runs_of_five_words_are_a_rule_where_that_is_asked_for(spark: Any) -> None:
    twice = f"{SENTENCE} {SENTENCE.upper()}"
    words = twice.lower().split()
    runs = [tuple(words[at : at + 5]) for at in range(len(words) - 4)]
    rows = passages(spark, ("twice", 0, twice), ("once", 0, SENTENCE), ("few", 0, "two words"))
    judged = judge(rows, QualityConfig(min_words=1, max_repeated_ngram_share=0.15))
    assert reasons(judged) == {"twice-0": "repeated_ngrams", "once-0": None, "few-0": None}
    assert [r.value for r in judged.collect() if r.value] == [pytest.approx(1 - len(set(runs)) / len(runs))]
    assert reasons(judge(rows, QualityConfig(min_words=1)))["twice-0"] is None


def test_letters_of_any_script_are_letters(spark: Any) -> None:
    greek = "\u03bc\u1fc6\u03bd\u03b9\u03bd \u1f04\u03b5\u03b9\u03b4\u03b5 \u03b8\u03b5\u03ac " * 10
    assert reasons(judge(passages(spark, ("iliad", 0, greek)), QualityConfig())) == {"iliad-0": None}


def test_of_equal_passages_the_first_in_the_order_of_documents_stays(spark: Any) -> None:
    rows = passages(
        spark,
        ("b", 0, "To be, or not to be"),
        ("a", 7, "To be,  or not\nto be"),
        ("c", 1, "To be, or not to be"),
        ("a", 9, "\tTo be, or not to be\n"),
        ("a", 1, "To be, or not to be", "too_few_words"),  # out of play: neither kept nor counted again
        ("c", 2, "to be, or not to be"),
    ).selectExpr("*", "'train' AS split")
    duplicate = "exact_duplicate"
    assert reasons(mark_duplicates(rows, DedupConfig(fuzzy=False))) == {
        "b-0": duplicate, "a-7": None, "c-1": duplicate, "a-9": duplicate, "a-1": "too_few_words", "c-2": None,
    }  # fmt: skip


def splits(spark: Any, config: SplitConfig, documents: list[str], seed: int = 0) -> dict[str, str]:
    frame = assign(passages(spark, *((doc, at, SENTENCE) for doc in documents for at in (0, 1))), config, seed)
    found: dict[str, set[str]] = {}
    for row in frame.collect():
        found.setdefault(row.doc_id, set()).add(row.split)
    assert all(len(s) == 1 for s in found.values()), "a document lies in two splits"
    return {doc: s.pop() for doc, s in found.items()}


def test_named_documents_take_their_group_along_and_test_wins(spark: Any) -> None:
    config = SplitConfig(
        validation_fraction=0,
        test_fraction=0,
        validation_documents=("macbeth_gut.txt", "ham*"),
        test_documents=("hamlet_gut.txt",),
        group_pattern="^(.+?)_gut",
    )
    documents = [f"{play}_gut{edition}.txt" for play in ("hamlet", "macbeth", "lear") for edition in ("", "_f")]
    found = splits(spark, config, [*documents, "other.txt"])
    assert found == {
        "hamlet_gut.txt": "test",
        "hamlet_gut_f.txt": "test",
        "macbeth_gut.txt": "validation",
        "macbeth_gut_f.txt": "validation",
        "lear_gut.txt": "train",
        "lear_gut_f.txt": "train",
        "other.txt": "train",
    }


def test_fractions_are_of_groups_and_a_group_stays_where_it_is(spark: Any) -> None:
    config = SplitConfig(validation_fraction=0.2, test_fraction=0.1, group_pattern="^(.+)-")
    documents = [f"{i}-{edition}" for i in range(1000) for edition in "ab"]
    found = splits(spark, config, documents)
    assert all(found[f"{i}-a"] == found[f"{i}-b"] for i in range(1000))
    share = {s: sum(v == s for v in found.values()) / len(found) for s in ("train", "validation", "test")}
    assert share == pytest.approx({"train": 0.7, "validation": 0.2, "test": 0.1}, abs=0.04)
    assert splits(spark, config, documents[:100]) == {d: found[d] for d in documents[:100]}
    assert splits(spark, config, documents, seed=1) != found


@pytest.mark.parametrize(
    ("rows", "config", "globs_hit", "message"),
    [
        ({"train": 9}, SplitConfig(test_fraction=0), {}, "validation split came out empty"),
        (
            {"train": 9},
            SplitConfig(validation_fraction=0, test_fraction=0, test_documents=("a*",)),
            {"a*": True},
            "test",
        ),
        ({"train": 9}, SplitConfig(test_documents=("hamlt*",)), {"hamlt*": False}, "no document's id matches 'hamlt"),
        ({"test": 9, "validation": 1}, SplitConfig(), {}, "train split came out empty"),
    ],
)
def test_a_split_that_was_asked_for_and_is_empty(
    rows: dict[str, int], config: SplitConfig, globs_hit: dict[str, bool], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_splits(rows, config, globs_hit)


def test_splits_that_nobody_asked_for_may_be_empty() -> None:
    check_splits({"train": 1}, SplitConfig(validation_fraction=0, test_fraction=0), {})
