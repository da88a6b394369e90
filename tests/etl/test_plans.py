"""The plans that were reviewed: a shuffle or a Python step more is a decision, not an accident."""

from pathlib import Path
from typing import Any

from tests.etl.plans import PLANS, described


def test_the_plans_are_the_ones_that_were_reviewed(spark: Any, tmp_path: Path) -> None:
    found = described(spark, tmp_path)
    assert found == PLANS.read_text(), f"after a change that is meant: python -m tests.etl.plans\n{found}"
