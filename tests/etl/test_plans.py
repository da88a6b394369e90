"""How often each part of the corpus stage shuffles and goes through Python: one more is a decision, not an accident."""

from pathlib import Path
from typing import Any

from tests.etl.plans import operators, plans

# Shuffles, Python nodes. Only "write" may move all text.
EXPECTED = {
    # One narrow stage. Python reads the files and repairs texts that may have been decoded wrongly; the rest is Spark SQL.
    "read, clean, redact, cut, judge": (0, 2),
    # A hash of the group decides; named documents are broadcast.
    "splits": (0, 0),
    # Beside reading the one Python step over all text, in NumPy.
    "signatures": (0, 1),
    # Narrow rows by fingerprint. Up to half a million passages the driver does it.
    "exact copies": (1, 0),
    # Band keys with ids, then distinct pairs of ids. Where signatures are few the driver does it.
    "candidate pairs": (2, 0),
    # Up to a million ids are broadcast to the text; beyond that both are shuffled.
    "texts of candidates": (0, 0),
    # One round of pairs of ids: by node, by neighbour, distinct. Up to half a million links the driver does it.
    "large star, small star": (3, 0),
    # Broadcast to the text up to a million; beyond that both are shuffled.
    "verdicts": (0, 0),
    # Moves all text, for the global order.
    "write": (1, 0),
}


def test_no_part_shuffles_or_goes_through_python_more_often(spark: Any, tmp_path: Path) -> None:
    found = {}
    for part, frame in plans(spark, tmp_path).items():
        names = operators(frame)
        python = sum("Python" in name or name.startswith(("MapIn", "FlatMap")) for name in names)
        found[part] = (names.count("Exchange"), python)
    assert found == EXPECTED
