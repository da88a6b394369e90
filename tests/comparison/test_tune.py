"""An engine's settings can be challenged: each has a reason and other values, and a changed one reaches the engine."""

from typing import Any

import pytest

from comparison.engines import SETTINGS, TUNED, session
from comparison.tune import candidates, main, table


def test_each_setting_has_a_reason_and_something_else_to_try() -> None:
    for engine, settings in TUNED.items():
        assert len({s.name for s in settings}) == len(settings)
        assert all(s.why and s.others and s.value not in s.others for s in settings), engine
        assert len(candidates(engine)) == 1 + sum(len(s.others) for s in settings)


def test_a_gain_counts_only_where_every_process_was_faster() -> None:
    found = {"ray sort": {"as it is cold": [9.0, 9.5, 9.2], "as it is warm": [2.0, 2.1, 2.2]}}
    for name, cold, warm in (("a=1", [9.1, 9.2, 9.3], [1.0, 1.1, 1.2]), ("b=1", [4.0, 4.0, 9.9], [2.1, 2.0, 2.2])):
        found["ray sort"] |= {f"{name} cold": cold, f"{name} warm": warm}
    told = {line.split()[2]: line.count("*") for line in table(found) if "as it is" not in line}
    assert told == {"a=1": 1, "b=1": 0}


def test_a_changed_setting_reaches_the_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    import os

    for name in SETTINGS["ray"]:
        monkeypatch.delenv(name, raising=False)
    seen: dict[str, str] = {}
    monkeypatch.setattr("ray.init", lambda **_: seen.update({name: os.environ[name] for name in SETTINGS["ray"]}))
    monkeypatch.setattr("ray.shutdown", lambda: None)
    changed = {"RAY_num_workers_soft_limit": "2"}
    with session("ray", 1, 1 << 30, True, tmp_path, megabytes=1, changed=changed):
        pass
    assert seen == SETTINGS["ray"] | changed
    for name in SETTINGS["ray"]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("arguments", "why"), [(("polars", "order"), "polars has no settings to tune"), (("ray", "sort"), "mean 'order'")]
)
def test_what_cannot_be_tuned_is_named(
    arguments: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(list(arguments)) == 2
    assert why in capsys.readouterr().err
