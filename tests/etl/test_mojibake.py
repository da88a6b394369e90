"""Text that was decoded wrongly is put right, right text stays, and each repair can be undone."""

import json
from pathlib import Path
from typing import Any

import pytest

from etl.config import CleaningConfig
from etl.mojibake import repaired_text
from etl.transforms import clean
from tests.etl.corpus_run import NO_HELD_OUT, prose, run, snapshot
from tests.etl.test_transforms import documents

WRONG = [  # as it was read, as it was meant
    ("\u00e2\u20ac\u0153\u2026\u00e2\u20ac\x9d", "\u201c\u2026\u201d"),
    ("\u00c3\x81rbol y \u00c3\x8dndice", "\u00c1rbol y \u00cdndice"),
    ("Espa\u00c3\u00b1a, a\u00c3\u00b1o y \u00c3\x81frica", "Espa\u00f1a, a\u00f1o y \u00c1frica"),
    ("PAS\u00c3\u201c y \u00c3\u00a9l", "PAS\u00d3 y \u00e9l"),
    ("SENTEN\u00c7A \u00c3\u00bb", "SENTEN\u00c7A \u00fb"),
    ("it\u00e2\u20ac\u2122s na\u00efve", "it\u2019s na\u00efve"),
    ("\u00c3\u0192\u00c2\u00a9t\u00c3\u0192\u00c2\u00a9", "\u00e9t\u00e9"),
    (
        "\u0420\u045f\u0421\u0402\u0420\u0451\u0420\u0406\u0420\u00b5\u0421\u201a",
        "\u041f\u0440\u0438\u0432\u0435\u0442",
    ),
    ("\u00e6\u2014\u00a5\u00e6\u0153\u00ac", "\u65e5\u672c"),
]
RIGHT = [
    "IRM\u00c3\u201d disse; AMANH\u00c3\u00bb, MA\u00c7\u00c3\u2026",
    "\u201cINFORMA\u00c7\u00c3O\u201d",
    "\u0110\u00c3\u2026 N\u1eb4NG, \u201cL\u00c2\u201d",
    "COBOR\u00ce\u00bb",
    "\u00abCAF\u00c9\u00bb",
    "\u00c3 \u00c2 \u00e2\u20ac and \u20ac5",
    "5 \u00b0C \u2013 \u00bd \u00a3 \u2026\u201d",
    "\u0412\u0441\u0451 \u2014 \u00ab\u0434\u0430\u00bb, \u0415\u0451",
    "\u251c\u2500\u2500 etl\n\u2502   \u2514\u2500\u2500 job.py",
    "\u03b1\u03b2 \u0386\u03bd\u03b8\u03c1\u03c9\u03c0\u03bf\u03c2",
    "caf\ufffd \u00c3\ufffd",
    "\x85 done, a\x93b\x94",
]


def test_what_was_decoded_wrongly_is_put_right_and_the_rest_stays() -> None:
    assert [repaired_text(wrong) for wrong, _ in WRONG] == [(meant, 1) for _, meant in WRONG]
    assert [text for text in RIGHT if repaired_text(text) != (text, 0)] == []


@pytest.mark.parametrize(
    "codec", ["latin-1", "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1257", "mac-roman", "cp437"]
)
def test_a_repair_leads_back_to_what_was_read(codec: str) -> None:
    """Sentences of eight languages, read as each encoding that can hold them; one that cannot is left alone."""
    sentences = [
        "\u201cN\u00e3o\u201d, disse a irm\u00e3 \u00e0 m\u00e3e: amanh\u00e3 \u2026", "V\u0161ichni \u017e\u00e1ci p\u0159i\u0161li v\u010das",
        "\u0412\u0441\u0435 \u0441\u0447\u0430\u0441\u0442\u043b\u0438\u0432\u044b\u0435 \u0441\u0435\u043c\u044c\u0438", "\u039a\u03b1\u03bb\u03b7\u03bc\u03ad\u03c1\u03b1 \u03ba\u03cc\u03c3\u03bc\u03b5", "\u00c7a co\u00fbte 5 \u20ac, \u00ab o\u00f9 \u00bb ?",
        "Gr\u00fc\u00dfe aus K\u00f6ln", "\u0130stanbul \u015fehri", "\u0160veices ba\u0146\u0137ieri",
    ]  # fmt: skip
    for meant in sentences:
        read = meant.encode().decode(codec, "surrogateescape")
        if any("\udc80" <= c <= "\udcff" for c in read):
            continue
        fixed, _ = repaired_text(read)
        assert fixed in (read, meant) or fixed.encode().decode(codec) == read
        assert repaired_text(meant) == (meant, 0)


def test_repaired_lines_are_counted_and_shown_on_the_card(spark: Any, tmp_path: Path) -> None:
    text = f"{prose(1)}\n\nit\u00e2\u20ac\u2122s here\nand Espa\u00c3\u00b1a\n\n{prose(2)}"
    (tmp_path / "a.txt").write_text(text)
    (tmp_path / "b.txt").write_text(prose(3))
    made = snapshot(*run(tmp_path, f"{tmp_path}/*.txt", split=NO_HELD_OUT))
    card = json.loads(Path(f"{made.data}/card.json").read_text())
    assert card["raw"]["repaired_lines"] == 2
    [shown] = [change for change in card["changes"] if "decoded" in change["step"]]
    assert "it\u00e2\u20ac" in shown["before"] and "it\u2019s here" in shown["after"] and shown["doc_id"] == "a.txt"


def test_the_step_can_be_left_out(spark: Any) -> None:
    wrong, meant = WRONG[5]
    for wanted, expected in ((True, meant), (False, wrong)):
        row = clean(documents(spark, wrong), CleaningConfig(repair_mojibake=wanted)).first()
        assert row.text == expected
