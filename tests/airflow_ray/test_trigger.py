"""The trigger: what it hands on, and that it never fires before the scheduler can have seen its task's process end."""

import asyncio
from typing import Any

import pytest

from airflow_ray import trigger
from airflow_ray.errors import RayJobLost, RayRefused, RayUnreachable
from airflow_ray.trigger import RayJobTrigger


def made() -> RayJobTrigger:
    return RayJobTrigger("ray_x", "job", 7, None, 1.0, 300.0, 60.0, {"CPU": 2.0})


def test_another_triggerer_gets_the_same_trigger() -> None:
    path, settings = made().serialize()
    assert path == f"{RayJobTrigger.__module__}.{RayJobTrigger.__name__}"
    assert RayJobTrigger(**settings).serialize() == (path, settings)


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (("details", ["a line"]), "ended"),
        ((None, []), "timeout"),
        (RayUnreachable("away"), "unreachable"),
        (RayJobLost("lost"), "lost"),
        (RayRefused("token"), "lost"),
    ],
)
def test_it_fires_once_and_not_before_its_time(monkeypatch: pytest.MonkeyPatch, found: Any, outcome: str) -> None:
    slept: list[float] = []

    async def follow(self: RayJobTrigger) -> Any:
        if isinstance(found, Exception):
            raise found
        return found

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(RayJobTrigger, "_follow", follow)
    monkeypatch.setattr(asyncio, "sleep", sleep)

    async def fired() -> list[Any]:
        return [event.payload async for event in made().run()]

    (payload,) = asyncio.run(fired())
    assert payload["outcome"] == outcome and payload["submission_id"] == "job"
    assert payload["message"] == (str(found) if isinstance(found, Exception) else "")
    assert 0.9 * trigger.EARLIEST_SECONDS < sum(slept) <= trigger.EARLIEST_SECONDS
