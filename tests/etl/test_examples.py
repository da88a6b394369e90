"""What the data card shows of a corpus: what cleaning changed, before and after, and never what is personal."""

import json
from pathlib import Path
from typing import Any

import pytest

from etl.examples import around, excerpts
from tests.etl.corpus_run import NO_HELD_OUT, prose, run, snapshot


def test_steps_that_changed_something_are_shown_and_personal_data_are_not(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"{prose(1)}\nWrite to me@example.com, soon.\x07  \n{prose(2)}")
    (tmp_path / "b.txt").write_text(f"{prose(3)}\n\nNumbers: 1 2 3 4 5 6 7 8 9\n\n\n\n{prose(4)}\u00ad")
    (tmp_path / "c.txt").write_text("A few words.")
    made = snapshot(*run(tmp_path, f"{tmp_path}/*.txt", split=NO_HELD_OUT))
    card = json.loads(Path(f"{made.data}/card.json").read_text())
    changes = {change["step"]: change for change in card["changes"]}
    assert changes.keys() == {
        "line ends, control characters and others that nobody sees",
        "blanks at line ends",
        "blank lines",
        "email",
    }
    control = changes["line ends, control characters and others that nobody sees"]
    assert control["doc_id"] == "a.txt" and "soon.<U+0007>" in control["before"] and "soon.  " in control["after"]
    assert changes["blank lines"]["before"].count("\n") > changes["blank lines"]["after"].count("\n")
    assert changes["blank lines"]["doc_id"] == "b.txt"
    assert changes["email"]["before"] is None and "Write to <EMAIL>, soon." in changes["email"]["after"]
    assert "me@example.com" not in json.dumps(card)
    dropped = {example["reason"]: example for example in card["examples"]}
    assert dropped["too_few_words"]["doc_id"] == "c.txt" and dropped["too_few_words"]["value"] == 3


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("abc", "abd", ("abc", "abd")),
        ("x" * 100 + "old" + "y" * 100, "x" * 100 + "new" + "y" * 100, None),
        ("same and more", "same", ("same and more", "same")),
        ("", "new", ("", "new")),
    ],
)
def test_excerpts_begin_a_little_before_the_change(before: str, after: str, expected: tuple[str, str] | None) -> None:
    shown = excerpts(before, after)
    if expected is not None:
        assert shown == expected
        return
    assert shown[0].startswith("…" + "x" * 30 + "old") and shown[1].startswith("…" + "x" * 30 + "new")
    assert all(len(text) == 30 + 90 + 2 and text.endswith("…") for text in shown)


def test_what_nobody_sees_is_named() -> None:
    assert around("a\u00adb\tc\nd", 0) == "a<U+00AD>b<U+0009>c\nd"
