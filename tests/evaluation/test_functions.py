"""A metric of one's own: rows on which it fails are left out for all models, and told."""

import json

import pytest

from evaluation.functions import as_json_lines, identity_of, judge_rows
from evaluation.passages import Passage

PASSAGES = [Passage(f"row-{n}", text, "prompt") for n, text in enumerate(["a", "b", "c"])]


def exact(prompt: str, completion: str, reference: str) -> float:
    if completion == "boom":
        raise KeyError("no such rhyme")
    return float("nan") if completion == "nan" else completion == reference


def test_a_row_that_the_function_fails_on_is_left_out_under_every_model(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "baton")
    judged = judge_rows("function:exact", exact, PASSAGES, {"tuned": ["a", "b", "nan"], "base": ["x", "boom", "c"]})
    assert judged.values == {"tuned": [1.0], "base": [0.0]}
    told = [json.loads(line) for line in as_json_lines(judged.quarantined).decode().splitlines()]
    assert [(row["row_id"], row["model"]) for row in told] == [("row-1", "base"), ("row-2", "tuned")]
    assert "KeyError" in told[0]["error"] and "not a finite number" in told[1]["error"]
    assert "function:exact: 2 rows are left out, the first is row-1" in caplog.text


def test_a_changed_function_makes_another_evaluation() -> None:
    def other(prompt: str, completion: str, reference: str) -> float:
        return 1.0

    assert identity_of({"exact": exact}, ["exact"]) != identity_of({"exact": other}, ["exact"])
    assert identity_of({"exact": exact, "other": other}, []) == {}, "only those that the gate asks for"
