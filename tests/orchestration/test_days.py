"""Which scheduled runs come too late, and which day a run is for."""

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from orchestration.days import day_of, too_late

DUE = datetime(2026, 11, 30, tzinfo=UTC)
HOURS = timedelta(hours=3)


def run(late: timedelta, clear_number: int = 0) -> Any:
    return SimpleNamespace(run_after=DUE, start_date=DUE + late, clear_number=clear_number, logical_date=DUE)


@pytest.mark.parametrize(
    ("late", "clears", "latest", "skipped"),
    [
        (timedelta(seconds=5), 0, HOURS, False),
        (HOURS, 0, HOURS, False),  # it waited for a run before it
        (timedelta(hours=15), 0, HOURS, True),  # unpaused on Monday at 15:00
        (timedelta(hours=15), 0, None, False),  # catching up was asked for
        (timedelta(hours=15), 1, HOURS, False),  # somebody cleared it
    ],
)
def test_a_scheduled_run_that_begins_long_after_its_time(
    late: timedelta, clears: int, latest: timedelta | None, skipped: bool
) -> None:
    reason = too_late(run(late, clears), latest)
    assert bool(reason) is skipped
    if reason:
        assert "due at 2026-11-30 00:00 UTC and began 15:00:00 later" in reason and "LATEST_START" in reason


def test_the_day_is_that_of_the_logical_date_or_of_the_trigger() -> None:
    backfill = SimpleNamespace(logical_date=DUE - timedelta(days=3), run_after=DUE)
    by_hand = SimpleNamespace(logical_date=None, run_after=DUE + timedelta(hours=9))
    assert [day_of({"dag_run": found}) for found in (backfill, by_hand)] == [date(2026, 11, 27), date(2026, 11, 30)]  # type: ignore[arg-type]
