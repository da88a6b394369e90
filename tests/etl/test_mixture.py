"""Several sources make one snapshot: each gives its share, documents stay apart, and a share is the same draw each time."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from etl.config import CorpusConfig, SourceConfig
from etl.mixture import by_precedence, mark_beyond_share, places_taken
from handoff.errors import ConfigError
from tests.etl.corpus_run import NO_HELD_OUT, nothing_published, prose, rows, run, snapshot


@pytest.fixture
def two(tmp_path: Path) -> tuple[str, str]:
    """Twenty books as texts, and forty pages as records, one of them a copy of a book."""
    for number in range(20):
        (tmp_path / f"{number}.txt").write_text(prose(number))
    pages = [{"text": prose(number)} for number in (3, *range(100, 139))]
    (tmp_path / "pages.jsonl").write_text("\n".join(json.dumps(page) for page in pages))
    return f"{tmp_path}/*.txt", str(tmp_path / "pages.jsonl")


def of_source(found: list[dict[str, Any]], name: str) -> set[str]:
    return {r["row_id"] for r in found if r["doc_id"].startswith(f"{name}/")}


def of_source_named(made: Any, name: str) -> set[str]:
    return of_source(rows(made), name)


def test_sources_are_mixed_by_share_and_cap(spark: Any, two: tuple[str, str], tmp_path: Path) -> None:
    def mixed(**pages: Any) -> Any:
        more = [{"uri": two[1], "name": "pages", **pages}]
        made = snapshot(*run(tmp_path, two[0], source={"name": "books"}, more_sources=more, split=NO_HELD_OUT))
        assert len(made.manifest.parents) == 2
        return made

    whole, half, capped = mixed(), mixed(share=0.5), mixed(max_mib=0.02)
    books, pages = of_source(rows(whole), "books"), of_source(rows(whole), "pages")
    assert len(books) + len(pages) == whole.manifest.rows["train"]
    assert whole.manifest.dropped == {"exact_duplicate": len(books) // 20}, "the copy is found across sources"
    for less in (half, capped):
        assert of_source(rows(less), "books") == books
        assert of_source(rows(less), "pages") < pages
        assert less.manifest.dropped["beyond_share_of_source"] == len(pages) - len(of_source(rows(less), "pages"))
    assert 0.3 < len(of_source(rows(half), "pages")) / len(pages) < 0.7
    taken = sum(len(r["text"].encode()) for r in rows(capped) if r["doc_id"].startswith("pages/"))
    assert 0.6 * 0.02 * 2**20 < taken <= 0.02 * 2**20
    small, large = sorted((of_source(rows(half), "pages"), of_source(rows(capped), "pages")), key=len)
    assert small < large, "a smaller share is a part of a larger one"
    told = {s["name"]: s for s in half.manifest.facts["sources"]}
    assert told["books"]["passages"] == len(books)
    assert told["pages"]["passages"] + told["pages"]["dropped"] == len(pages) + len(books) // 20


def test_one_source_may_be_capped_too(spark: Any, two: tuple[str, str], tmp_path: Path) -> None:
    made = snapshot(*run(tmp_path, two[0], source={"share": 0.25}, split={**NO_HELD_OUT, "test_documents": ["1.txt"]}))
    assert {r["doc_id"] for r in rows(made, "test")} == {"1.txt"}
    all_train = made.manifest.rows["train"] + made.manifest.dropped["beyond_share_of_source"]
    assert 0.1 < made.manifest.rows["train"] / all_train < 0.4


def test_a_cap_that_nothing_fits_is_an_error(spark: Any, two: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"max_mib of source .* Remedy: raise it to 0\.000"):
        run(tmp_path, two[0], source={"max_mib": 0.00001}, split=NO_HELD_OUT)
    assert nothing_published(tmp_path)


def test_a_text_that_two_sources_have_stays_in_the_one_of_which_more_is_taken(spark: Any, tmp_path: Path) -> None:
    """Although its name comes later; exact copies and near ones."""
    thin, share = "aweb", 0.1
    texts = [prose(number) for number in range(40)]
    near = [text.replace(text.split()[60], "otherwise", 1) if n % 2 else text for n, text in enumerate(texts)]
    for name, of_source in (("books", texts), (thin, [*near, prose(99)])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in of_source))
    more = [{"uri": f"{tmp_path}/{thin}.jsonl", "name": thin, "share": share}]
    corpus = {"more_sources": more, "split": NO_HELD_OUT, "passage_chars": 5000}
    made = snapshot(*run(tmp_path, f"{tmp_path}/books.jsonl", source={"name": "books"}, **corpus))
    assert len(of_source_named(made, "books")) == 40
    told = {s["name"]: s for s in made.manifest.facts["sources"]}
    assert told["books"] == {
        "name": "books", "passages": 40, "text_bytes": sum(map(len, texts)), "dropped": 0, "reasons": {}, "duplicates_of": {},
    }  # fmt: skip
    assert told[thin]["duplicates_of"] == {"books": 40}
    duplicates = {"exact_duplicate": 20, "near_duplicate": 20}
    assert {r: n for r, n in told[thin]["reasons"].items() if r in duplicates} == duplicates


def test_precedence_is_by_share_then_priority_then_name(spark: Any) -> None:
    def order(*sources: dict[str, Any]) -> list[str]:
        first, *more = [{"uri": f"{source['name']}.jsonl", **source} for source in sources]
        config = CorpusConfig.model_validate({"source": first, "more_sources": more})
        rows = [(f"{s['name']}/{i}", "x" * 1024, None, "train") for s in sources for i in range(1024)]
        return by_precedence(
            spark.createDataFrame(rows, "doc_id string, text string, reason string, split string"), config
        )

    assert order({"name": "a", "share": 0.5}, {"name": "b"}, {"name": "c"}) == ["b", "c", "a"]
    assert order({"name": "a"}, {"name": "b"}, {"name": "c", "priority": 1}) == ["c", "a", "b"]
    assert order({"name": "a", "max_mib": 0.25}, {"name": "b", "share": 0.3}) == ["b", "a"]
    assert order({"name": "a", "max_mib": 0.25}, {"name": "b", "share": 0.2}) == ["a", "b"]
    assert order({"name": "a", "max_mib": 5}, {"name": "b", "priority": -1}) == ["a", "b"]


@pytest.mark.parametrize("share", [0.5, 0.01, 0.0005, 0.00002])
def test_a_share_is_the_share_that_was_asked_for(spark: Any, share: float) -> None:
    rows = spark.range(500_000).selectExpr(
        "'a' AS doc_id",
        "'word' AS text",
        "sha2(string(id), 256) AS row_id",
        "string(null) AS reason",
        "'train' AS split",
    )
    marked = mark_beyond_share(rows, CorpusConfig(source=SourceConfig(uri="a.jsonl", share=share)))
    taken, expected = marked.where("reason IS NULL").count(), 500_000 * share
    assert abs(taken - expected) < 5 * expected**0.5


@pytest.mark.parametrize("cap", [0.9, 0.1, 0.002, 0.0001])
def test_a_cap_is_met_closely(spark: Any, cap: float) -> None:
    rows = spark.range(200_000).selectExpr("repeat('x', 10) AS text", "pmod(xxhash64(id), 1099511627776) AS _place")
    source = SourceConfig(uri="x", max_mib=cap)
    taken = 10 * rows.where(rows._place < places_taken(rows, source)).count()
    assert cap * 2**20 - 40 < taken <= cap * 2**20


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([{"uri": "b"}], "needs a name of its own"),
        ([{"uri": "b", "name": "a"}], "needs a name of its own"),
        ([{"uri": "b", "name": "b", "completion_column": "answer"}], "cannot be mixed"),
    ],
)
def test_sources_that_cannot_be_told_apart_or_mixed_are_refused(more: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CorpusConfig.model_validate({"source": {"uri": "a", "name": "a"}, "more_sources": more})
