"""Several sources make one snapshot: each gives its share, documents stay apart, and a share is the same draw each time."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from etl.config import CorpusConfig, SourceConfig
from etl.mixture import BUCKETS, buckets_taken
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


def test_whole_buckets_are_taken() -> None:
    sizes = {0: 600_000, 1: 300_000, 2: 400_000}
    assert buckets_taken(SourceConfig(uri="x", max_mib=1), sizes) == 2
    assert buckets_taken(SourceConfig(uri="x", max_mib=2), sizes) == BUCKETS
    assert buckets_taken(SourceConfig(uri="x", max_mib=2, share=0.5), sizes) == BUCKETS // 2
    with pytest.raises(ConfigError, match=r"Remedy: raise it to 0\.5722 or more"):
        buckets_taken(SourceConfig(uri="x", max_mib=0.5), {0: 600_000})


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
