"""Prompts with completions go through the whole stage uncut, and training takes what it makes."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from etl.config import SourceConfig
from etl.pairs import SEPARATOR
from handoff.artifact import open_artifact
from handoff.errors import ConfigError, SourceError
from handoff.rows import open_corpus
from handoff.schema import PAIRS
from inference.config import InferenceConfig
from inference.openings import held_out
from tests.etl.corpus_run import NO_HELD_OUT, prose, rows, run

COLUMNS = {"text_column": "question", "completion_column": "answer", "id_column": "name"}


def records(path: Path, *more: dict[str, Any]) -> Path:
    """Thirty pairs, each unlike the others, and some more."""
    pairs = [
        {"name": f"p{n}", "question": f"What is {prose(n)[:120]}?\n", "answer": f" It is\n\n{prose(100 + n)[:90]}."}
        for n in range(30)
    ]
    path.write_text("".join(json.dumps(pair) + "\n" for pair in [*pairs, *more]))
    return path


def test_pairs_become_a_snapshot_that_training_and_inference_take(spark: Any, tmp_path: Path) -> None:
    file = records(
        tmp_path / "pairs.jsonl",
        {"name": "mute", "question": "Who?", "answer": " "},
        {"name": "long", "question": prose(7), "answer": prose(8)},
        {"name": "z", "question": f"What is {prose(3)[:120]}?\n", "answer": f" It is\n\n{prose(103)[:90]}."},
        {
            "name": "mail",
            "question": f"Whose is {SEPARATOR}ann@example.org, {prose(50)[:90]}",
            "answer": f"Hers {prose(51)[:90]}",
        },
    )
    split = {"validation_fraction": 0, "test_documents": ["p1", "p2"], "test_fraction": 0}
    record, directory = run(tmp_path, str(file), source=COLUMNS, split=split, keep_rejects=True)
    assert record.artifact
    made = open_artifact(directory.store, record.artifact, schema=PAIRS, digests=True)
    found = {row["doc_id"]: row for row in rows(made)}
    assert set(found) == {*(f"p{n}" for n in range(30)), "mail"}, "of equal pairs the first stays"
    assert found["p5"]["prompt"] == f"What is {prose(5)[:120]}?\n", "uncut, with its line end"
    assert found["p5"]["completion"] == f" It is\n\n{prose(105)[:90]}.", "with its blank and its paragraphs"
    assert found["mail"]["prompt"].startswith("Whose is <EMAIL>,") and SEPARATOR not in str(found)
    assert made.manifest.dropped == {"exact_duplicate": 1, "no_text": 1, "pair_too_long": 1}

    files = list(Path(made.data, "rejects").glob("*.json.gz"))
    dropped = [json.loads(line) for f in files for line in gzip.decompress(f.read_bytes()).decode().splitlines()]
    assert any(" → " in row.get("text", "") for row in dropped) and SEPARATOR not in str(dropped)

    record.status = "success"
    directory.save(record)
    assert open_corpus(directory, "train").id == made.id
    prompts = held_out(InferenceConfig(held_out_prompts=2), made)
    assert {text for _, text, _ in prompts} == {found["p1"]["prompt"], found["p2"]["prompt"]}


def test_questions_about_one_text_are_no_duplicates_by_default(spark: Any, tmp_path: Path) -> None:
    """SQuAD's form: 20 contexts, five questions about each."""
    pairs = [
        {
            "name": f"{c}-{q}",
            "question": f"{prose(c)[:300]}\n\nHow about {'abcde'[q]}?",
            "answer": "yes" if q % 2 else "no",
        }
        for c in range(20)
        for q in range(5)
    ]
    file = records(tmp_path / "p.jsonl", *pairs, {**pairs[7], "name": "zz"})
    record, directory = run(tmp_path, str(file), source=COLUMNS, split=NO_HELD_OUT)
    assert record.artifact
    made = open_artifact(directory.store, record.artifact)
    assert made.manifest.dropped == {"exact_duplicate": 1} and made.manifest.rows["train"] == 130


def test_short_pairs_are_kept_and_rules_that_are_set_hold(spark: Any, tmp_path: Path) -> None:
    short = [("2+2?", "4"), ("What is 7 x 8?", "56"), ("Say: #a #b", "#a #b..."), ("\u4f60\u597d", "\u55e8")]
    file = records(tmp_path / "p.jsonl", *({"name": q, "question": q, "answer": a} for q, a in short))
    record, directory = run(tmp_path, str(file), source=COLUMNS, split=NO_HELD_OUT)
    assert record.artifact
    kept = {row["doc_id"] for row in rows(open_artifact(directory.store, record.artifact))}
    assert kept >= {q for q, _ in short}
    again, directory = run(tmp_path / "again", str(file), source=COLUMNS, split=NO_HELD_OUT, quality={"min_words": 4})
    assert again.artifact
    assert open_artifact(directory.store, again.artifact).manifest.dropped == {"too_few_words": 1}


def test_files_without_those_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("words enough\n" * 50)
    with pytest.raises(ConfigError, match=r"a\.txt has no columns"):
        run(tmp_path, f"{tmp_path}/a.txt", source={"completion_column": "answer"})
    records(tmp_path / "b.jsonl")
    with pytest.raises(SourceError, match=r"has no column 'reply'.*completion_column"):
        run(tmp_path, f"{tmp_path}/b.jsonl", source=COLUMNS | {"completion_column": "reply"})
    with pytest.raises(ValueError, match="completion_column and text_column are both"):
        SourceConfig(uri="x.jsonl", completion_column="text")
