"""A DAG that is turned on runs at the next time of its schedule, not at one that has passed."""

from datetime import UTC, datetime

import pytest

from orchestration.policy import at


@pytest.mark.parametrize("hour", [0, 1, 12])
def test_the_first_run_is_at_the_next_time(monkeypatch: pytest.MonkeyPatch, hour: int) -> None:
    from airflow.serialization.encoders import coerce_to_core_timetable
    from airflow.timetables import trigger
    from airflow.timetables.base import TimeRestriction

    monkeypatch.setattr(trigger, "utcnow", lambda: datetime(2026, 11, 26, hour, 5, tzinfo=UTC))
    written = coerce_to_core_timetable(at("@daily"))
    read = type(written).deserialize(written.serialize())  # as the scheduler has it
    for timetable in (written, read):
        first = timetable.next_dagrun_info(
            last_automated_data_interval=None, restriction=TimeRestriction(None, None, False)
        )
        assert first is not None and first.run_after == datetime(2026, 11, 27, tzinfo=UTC)
