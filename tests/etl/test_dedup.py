"""Near-duplicates: what is planted is found, what is found is verified, clusters keep one passage, skew costs little."""

import random
from itertools import pairwise
from typing import Any

import pytest

from bench.generate import edited, jaccard
from etl.dedup import duplicates
from etl.dedup.components import components
from etl.dedup.config import DedupConfig
from etl.dedup.minhash import FOLDED, LETTERS, sets_of

SCHEMA = "doc_id string, position int, text string, row_id string, reason string, split string"
WORDS = [f"{a}{b}" for a in "bcdfghklmnprstvwz" for b in ("ane", "ore", "illy", "ust", "eam", "ight", "ound", "ace")]


def prose(number: int, words: int = 200) -> str:
    return " ".join(random.Random(number).choices(WORDS, k=words))


def frame(spark: Any, *rows: tuple[str, str] | tuple[str, str, str], partitions: int = 3) -> Any:
    """Rows of (doc_id, text[, split])."""
    full = [(doc, 0, text, f"{doc}-0", None, *(rest or ("train",))) for doc, text, *rest in rows]
    return spark.createDataFrame(full, SCHEMA).repartition(partitions)


def verdicts(marked: Any) -> dict[str, str | None]:
    return {row.doc_id: row.reason for row in marked.collect()}


def roots(spark: Any, links: list[tuple[int, int]]) -> dict[int, int]:
    found = components(spark.createDataFrame(links, "first long, second long").repartition(4)).collect()
    assert len({row.node for row in found}) == len(found)
    return {row.node: row.root for row in found}


@pytest.mark.parametrize("most_here", [10_000, 0])
def test_components_of_chains_stars_rings_and_loops(
    spark: Any, monkeypatch: pytest.MonkeyPatch, most_here: int
) -> None:
    monkeypatch.setattr("etl.dedup.components.MOST_ON_DRIVER", most_here)
    draw = random.Random(0)
    names = draw.sample(range(-(10**6), 10**6), 340)
    chain, star, ring = names[:40], names[40:300], names[300:340]
    links = [*pairwise(chain), *((star[0], s) for s in star[1:]), *pairwise([*ring, ring[0]]), (ring[3], ring[3])]
    draw.shuffle(links)
    expected = {n: min(part) for part in (chain, star, ring) for n in part if n != min(part)}
    assert roots(spark, links) == expected


def test_no_links_no_components(spark: Any) -> None:
    assert roots(spark, []) == {} == roots(spark, [(5, 5)])


def test_rounds_are_bounded(spark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etl.dedup.components.MOST_ON_DRIVER", 0)
    monkeypatch.setattr("etl.dedup.components.MAX_ROUNDS", 1)
    with pytest.raises(RuntimeError, match="did not settle"):
        roots(spark, list(pairwise(range(60))))


def test_planted_pairs_are_found_and_nothing_else(spark: Any) -> None:
    """With 14 bands of 8, pairs of Jaccard 0.8 are found with probability 0.92 and those of 0.9 with 0.9995."""
    draw = random.Random(3)
    rows, pairs = [], {}
    for i in range(60):
        text = prose(i)
        rows.append((f"a{i:02d}", text))
        copy = edited(text, (0.002, 0.01, 0.05, 0.2)[i % 4], WORDS, draw)
        rows.append((f"b{i:02d}", copy))
        pairs[f"b{i:02d}"] = jaccard(text, copy)
    found = verdicts(duplicates.mark_duplicates(frame(spark, *rows).persist(), DedupConfig()))
    assert all(found[f"a{i:02d}"] is None for i in range(60))
    removed = {doc for doc, reason in found.items() if reason}
    assert all(reason in (None, "near_duplicate") for reason in found.values())
    assert removed <= {doc for doc, similarity in pairs.items() if similarity >= 0.8}
    assert {doc for doc, similarity in pairs.items() if similarity >= 0.9} <= removed and len(removed) > 15


def test_near_duplicates_are_found_in_scripts_without_blanks(spark: Any) -> None:
    """Chinese, Japanese, Thai, Lao, Khmer, Burmese: 30 pairs each of 500 characters, of which 1 % are changed."""
    draw, rows = random.Random(9), []
    for first, count in ((0x4E00, 3000), (0x3041, 80), (0x0E01, 46), (0x0E81, 40), (0x1780, 50), (0x1000, 60)):
        letters = [chr(first + n) for n in range(count)]
        for i in range(30):
            text = "".join(draw.choices(letters, k=500))
            copy = list(text)
            for place in draw.sample(range(500), 5):
                copy[place] = draw.choice(letters)
            rows += [(f"a{first}-{i:02d}", text), (f"b{first}-{i:02d}", "".join(copy))]
    found = verdicts(duplicates.mark_duplicates(frame(spark, *rows).persist(), DedupConfig()))
    assert {doc for doc, reason in found.items() if reason} == {doc for doc, _ in rows if doc.startswith("b")}


def test_the_keeper_is_of_the_most_held_out_split_then_the_first(spark: Any) -> None:
    draw = random.Random(4)
    text = prose(1)
    near = [edited(text, 0.002, WORDS, draw) for _ in range(4)]
    rows = [("a", near[0]), ("b", near[1]), ("c", near[2], "test"), ("d", near[3], "validation"), ("e", text.upper())]
    rows += [("f", text), ("g", prose(2)), ("h", prose(3), "test"), ("i", f"{prose(3)}!")]
    marked = duplicates.mark_duplicates(frame(spark, *rows).persist(), DedupConfig()).persist()
    near_copy = "near_duplicate"
    assert verdicts(marked) == {
        "a": near_copy, "b": near_copy, "c": None, "d": near_copy, "e": near_copy, "f": near_copy, "g": None,
        "h": None, "i": near_copy,
    }  # fmt: skip
    assert {r.doc_id: r._cluster for r in marked.collect() if r._cluster} == {"c": 6, "h": 2}


def test_no_near_duplicate_pair_straddles_train_and_test(spark: Any) -> None:
    """All pairs of what is kept are compared, not only those that share a bucket."""
    draw = random.Random(5)
    rows = []
    for i in range(40):
        text = prose(i)
        rows += [(f"{i}-{j}", edited(text, 0.004 * j, WORDS, draw), ("train", "test")[(i + j) % 2]) for j in range(4)]
    kept = duplicates.mark_duplicates(frame(spark, *rows).persist(), DedupConfig(bands=28, rows_per_band=4)).where(
        "reason IS NULL"
    )
    train, test = ([r.text for r in kept.collect() if r.split == s] for s in ("train", "test"))
    assert train and test and max(jaccard(a, b) for a in train for b in test) < 0.8
    assert max(jaccard(a[1], b[1]) for a in rows for b in rows if a[2] != b[2]) > 0.9  # there was something to remove


DIFFERENT = [
    "2 + 2", "2 * 2", "2 ^ 2", "2 - 2", "2 / 2", "2 = 2", "2 != 2", "-2", "2", "2.", "C++", "C#", "C", "c", ".NET", "?!", "--",
    "\U0001f600", "\U0001f622", "\U0001f44d\U0001f3fb", "\U0001f44d\U0001f3ff", "\u00ac", "\u20ac5", "\u00a35", "3.5", "35", "3 5",
    "to be or not", "To be, or not!", "to be or", "x \u2264 y", "x \u2265 y", "\u4f60\u597d", "\u4f60 \u597d",
]  # fmt: skip


def test_exact_duplicates_are_equal_but_for_white_space(spark: Any) -> None:
    same = [("2 +  2 ", "2 + 2"), ("\tto\nbe\r\nor  not\n", "to be or not"), ("C#", "C#")]
    rows = [(f"{number:02d}", text) for number, text in enumerate(DIFFERENT)]
    rows += [(f"z{number}", text) for number, (text, _) in enumerate(same)]
    for fuzzy in (True, False):
        found = verdicts(duplicates.mark_duplicates(frame(spark, *rows).persist(), DedupConfig(fuzzy=fuzzy)))
        assert found == {name: "exact_duplicate" if name.startswith("z") else None for name, _ in rows}


def test_short_texts_that_differ_at_their_ends_or_in_signs_are_kept_and_long_ones_only_if_signs_are_many(
    spark: Any,
) -> None:
    """A changed last word leaves a text of 40 words at a Jaccard similarity of 0.95."""
    short, long, code = (
        prose(1, 40),
        prose(2, 200),
        "for i in range ( n ) : total = total + values [ i ] * weight " * 12,
    )
    lines = [f"{number} {code}" for number in range(3)]
    rows = [
        ("a", f"{short} Paris"), ("b", f"{short} London"), ("c", f"{short} 5"), ("d", f"{short} -5"),
        ("e", long), ("f", f"{long} +"), ("g", long.upper().replace(" ", ", ")),
        ("h", " ".join(lines)), ("i", " ".join(lines).replace("+", "-").replace("*", "/")),
    ]  # fmt: skip
    found = verdicts(duplicates.mark_duplicates(frame(spark, *rows).persist(), DedupConfig()))
    assert {name for name, reason in found.items() if reason} == {"f", "g"}


def test_words_of_a_text_are_those_of_the_normalised_text(spark: Any) -> None:
    """ASCII is folded in NumPy, everything else in Spark: the n-grams are those of Spark's form alone."""
    from pyspark.sql import functions as F

    draw = random.Random(8)
    drawn = ["".join(draw.choices("aZ9 .\n\t\x00~_'+#", k=draw.randrange(30))) for _ in range(300)]
    texts = [
        *drawn,
        "ÉTÉ à Łódź",
        "naïve — café 42",
        "\u00a0x\u00a0",
        "東京 Tower",
        "e\u0301te",
        "İstanbul IS",
        "\x7fa\x7f",
        "é+1",
    ]
    rows = spark.createDataFrame(list(enumerate(texts)), "id long, text string")
    for signs, table in ((duplicates.SIGN_CLASSES, FOLDED), ("", LETTERS)):
        sets = [
            rows.select("id", words).mapInArrow(sets_of(1, table), "id long, ngrams array<long>")
            for words in (
                duplicates.words_of(F.col("text"), signs),
                duplicates.normalised(F.col("text"), signs).alias("words"),
            )
        ]
        quick, plain = ({row.id: sorted(row.ngrams) for row in found.collect()} for found in sets)
        assert quick == plain and len(set(map(tuple, plain.values()))) > 100
    normal = [row.words for row in rows.select(duplicates.normalised(F.col("text")).alias("words")).collect()]
    assert normal[300] == "été à łódź" and normal[-1] == "é+1"


@pytest.mark.parametrize(("partitions", "most"), [(1, 10**6), (7, 0)])
def test_verdicts_do_not_depend_on_partitions_order_kind_of_join_or_place(
    spark: Any, partitions: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(7)
    rows = [(f"{i}-{j}", edited(prose(i), 0.005 * j, WORDS, draw)) for i in range(20) for j in range(4)]
    before = spark.conf.get("spark.sql.shuffle.partitions")
    expected = verdicts(duplicates.mark_duplicates(frame(spark, *rows).persist(), DedupConfig()))
    spark.conf.set("spark.sql.shuffle.partitions", partitions)
    for limit in (
        "etl.dedup.duplicates.MOST_BROADCAST",
        "etl.dedup.collisions.MOST_ON_DRIVER",
        "etl.dedup.components.MOST_ON_DRIVER",
    ):
        monkeypatch.setattr(limit, most)
    try:
        turned = frame(spark, *reversed(rows), partitions=partitions).persist()
        assert verdicts(duplicates.mark_duplicates(turned, DedupConfig())) == expected
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", before)
