"""New files in a source: signatures of unchanged passages are reused, and the snapshot is that of a full run."""

import logging
from pathlib import Path
from typing import Any

import pytest

from handoff.artifact import Artifact
from tests.etl.corpus_run import NO_HELD_OUT, prose, rows, run, snapshot


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    root = tmp_path / "texts"
    root.mkdir()
    for number in range(8):
        (root / f"text{number}.txt").write_text(prose(number))
    return root


def grown(texts: Path) -> None:
    """One file is changed, one is gone, and three come: a new text, a copy of an old one, and an old one with a word changed."""
    (texts / "text7.txt").write_text(prose(17))
    (texts / "text6.txt").unlink()
    (texts / "text8.txt").write_text(prose(8))
    (texts / "copy.txt").write_text(prose(2))
    (texts / "near.txt").write_text(prose(4).replace(prose(4).split()[40], "otherwise", 1))


def kept_signatures(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "artifacts").glob("signatures/*/_MANIFEST.json"))


def without_signature(caplog: pytest.LogCaptureFixture) -> list[int]:
    told = [r.getMessage().strip() for r in caplog.records if "have no signature yet" in r.getMessage()]
    return [int(line.split()[0].replace(",", "")) for line in told]


def same(one: Artifact, other: Artifact) -> bool:
    a, b = one.manifest, other.manifest
    equal = (a.id, a.facts, a.dropped, a.rows) == (b.id, b.facts, b.dropped, b.rows)
    return equal and all(rows(one, split) == rows(other, split) for split in one.manifest.rows)


def test_a_source_that_grew_gives_the_snapshot_of_a_full_run(
    spark: Any, texts: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "baton")
    split = {"validation_fraction": 0.2, "test_fraction": 0.1}
    first = snapshot(*run(tmp_path, f"{texts}/*.txt", split=split))
    assert without_signature(caplog) == [] and len(kept_signatures(tmp_path)) == 1
    grown(texts)
    second = snapshot(*run(tmp_path, f"{texts}/*.txt", split=split))
    per_text = first.manifest.facts["passages"] // 8
    [computed] = without_signature(caplog)
    assert 2 * per_text < computed < 5 * per_text, (
        "a changed, a new and a near text; the copy's passages have other ids"
    )
    assert len(kept_signatures(tmp_path)) == 2
    full = snapshot(*run(tmp_path / "full", f"{texts}/*.txt", split=split))
    assert same(second, full)
    assert full.manifest.dropped.keys() == {"exact_duplicate", "near_duplicate"}
    assert second.manifest.parents[0].id != first.manifest.parents[0].id


@pytest.mark.faults
@pytest.mark.parametrize("damage", ["file", "manifest", "settings", "off"])
def test_signatures_that_cannot_be_used_are_computed(
    spark: Any, texts: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    caplog.set_level(logging.INFO, "baton")
    dedup: dict[str, Any] = {"keep_signatures": damage != "off"}
    run(tmp_path, f"{texts}/*.txt", dedup=dedup, split=NO_HELD_OUT)
    manifests = kept_signatures(tmp_path)
    assert len(manifests) == (damage != "off")
    if damage == "file":
        next(manifests[0].parent.rglob("*.parquet")).unlink()
    if damage == "manifest":
        manifests[0].write_text("{")
    if damage == "settings":
        dedup["bands"] = 20
    (texts / "more.txt").write_text(prose(20))
    made = snapshot(*run(tmp_path, f"{texts}/*.txt", dedup=dedup, split=NO_HELD_OUT))
    assert without_signature(caplog) == []
    assert ("cached signatures are not used" in caplog.text) == (damage == "file")
    assert same(made, snapshot(*run(tmp_path / "full", f"{texts}/*.txt", dedup=dedup, split=NO_HELD_OUT)))
