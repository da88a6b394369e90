"""A run's day: whether a scheduled run still is of it, and sources that are named after it."""

import re
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from handoff.text import text_fields

if TYPE_CHECKING:
    from airflow.sdk import Context

# The only expressions that are ever filled in: Airflow's names of a run's day. They are replaced as text; nothing is
# evaluated, and what any other setting or any other expression holds is refused as before.
_DAY = re.compile(r"\{\{ *(ds|ds_nodash) *\}\}")


def day_of(context: "Context") -> date:
    """The day that a run is for, in UTC: that of its logical date, or of its trigger where it has none."""
    run = context["dag_run"]
    return (run.logical_date or run.run_after).date()


def too_late(run: Any, latest_start: timedelta | None) -> str | None:
    """Why a scheduled run that has just begun comes too late, or None.

    A schedule without catch-up still starts the time that passed last, at once, when a DAG is unpaused or its scheduler
    comes back. A run that somebody cleared was asked for, whatever the time.

    Args:
        run: of the DAG.
        latest_start: how long after its time it may begin; None: whenever.
    """
    started: datetime | None = run.start_date
    if latest_start is None or started is None or run.clear_number or started - run.run_after <= latest_start:
        return None
    late = timedelta(seconds=round((started - run.run_after).total_seconds()))
    return (
        f"it was due at {run.run_after:%Y-%m-%d %H:%M} UTC and began {late} later, after a pause, a stop of the scheduler or "
        f"another run; later than {latest_start} is not what the schedule asked for. The next run comes at its time. To run "
        "now, trigger the DAG, or clear plan in this run; to catch up always, set LATEST_START = None in the DAG file"
    )


def for_day(config: type[BaseModel], settings: dict[str, Any], day: date | None) -> dict[str, Any]:
    """A configuration whose paths and URIs name ``day`` where they said ``{{ ds }}`` (2026-11-30) or ``{{ ds_nodash }}``.

    Args:
        config: the configuration's class, whose types say which texts are locations.
        settings: its values, as JSON types.
        day: that the run is for; None leaves the settings as they are.
    """
    if day is None:
        return settings
    locations = {path for path, kind in text_fields(config) if kind and kind.what == "location"}
    named: dict[str, Any] = _named(settings, "", locations, {"ds": day.isoformat(), "ds_nodash": f"{day:%Y%m%d}"})
    return named


def _named(value: Any, path: str, locations: set[str], names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _named(part, f"{path}.{key}".lstrip("."), locations, names) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_named(part, path, locations, names) for part in value]
    if isinstance(value, str) and path in locations:
        return _DAY.sub(lambda found: names[found[1]], value)
    return value
