"""Cells in real processes: what goes wrong is a result without a time, and the others are measured all the same."""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from comparison.config import ComparisonConfig
from comparison.data import generated, write_tables
from comparison.form import Form
from comparison.measure.attempt import attempt
from comparison.measure.runner import Runner, settled
from comparison.results import Measurement
from comparison.schedule import Cell
from tests.comparison import toy_stage
from tests.comparison.synthetic import cell as timings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The toy stage takes the place of ``clean`` here and in every process that is measured."""
    monkeypatch.setattr("comparison.measure.runner.FOREIGN_SHARE", 9.0)  # other tests may be at work on this machine
    monkeypatch.setitem(sys.modules, "comparison.stages.clean", toy_stage)
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import sys\nimport comparison.stages\nimport tests.comparison.toy_stage as toy\n"
        "sys.modules['comparison.stages.clean'] = toy\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{site}:{ROOT}")
    monkeypatch.setenv("TOY_MARKS", str(tmp_path))
    return tmp_path


def runner(place: Path, seconds: float = 600, **settings: object) -> Runner:
    config = ComparisonConfig(
        **{"stages": ("clean",), "sizes_mb": (0.2,), "processes": 1, "warm_runs": 1, **settings}  # type: ignore[arg-type]
    )
    tables = place / "tables"
    write_tables(generated(0.2, 0), tables, 0)
    (place / "run").mkdir(exist_ok=True)
    return Runner(config, lambda _: tables, place / "model", place / "run", time.monotonic() + seconds)


def only(monkeypatch: pytest.MonkeyPatch, *variants: str) -> None:
    forms: list[Form] = [f for f in toy_stage.STAGE.forms if f.variant in variants]
    monkeypatch.setattr(toy_stage, "STAGE", replace(toy_stage.STAGE, forms=tuple(forms)))


def by_form(found: list[Measurement]) -> dict[str, list[Measurement]]:
    forms: dict[str, list[Measurement]] = {}
    for m in found:
        forms.setdefault(m.form, []).append(m)
    return forms


def test_every_way_to_go_wrong_is_a_result_and_has_no_time(toy: Path) -> None:
    found, partial = runner(toy, cell_timeout_seconds=4).measure()
    assert partial is None and (toy / "hung").exists()
    forms = by_form(found)
    for name in ("python good", "polars good"):
        assert [(m.phase, m.status) for m in forms[name]] == [("start", "ok"), ("first", "ok"), ("warm", "ok")]
        assert all(m.seconds and m.cpu_seconds is not None for m in forms[name])
        assert forms[name][1].figures == {"seen": 1.0} and forms[name][1].peak_bytes
    ends = {name: rows[-1].status for name, rows in forms.items() if not name.endswith("good")}
    assert ends == {
        "python wrong": "unequal",
        "python hanging": "timeout",
        "python killed": "memory",
        "python raising": "failed",
    }
    assert all(m.seconds is None for m in forms["python wrong"] if m.phase != "start")
    assert "no such column" in forms["python raising"][-1].message
    assert not (toy / "run" / "cell").exists()


def test_when_the_time_is_used_up_what_is_there_is_kept_and_said_to_be_partial(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "good", "hanging")

    def until_it_hangs(cell: Cell, *rest: Any) -> tuple[list[Measurement], bool]:
        """The budget ends in the cell once its form hangs, however long its process takes to start."""
        *others, timeout = rest
        if cell.form.variant != "hanging":
            return attempt(cell, *others, timeout)
        for seconds in (4, 16, 64):
            measured = attempt(cell, *others, seconds)
            if (toy / "hung").exists():
                return measured
        raise AssertionError("the form never came to hang")

    monkeypatch.setattr("comparison.measure.runner.attempt", until_it_hangs)
    found, partial = runner(toy, seconds=600, cell_timeout_seconds=3600).measure()
    assert (toy / "hung").exists(), "the budget ended before the cell that it was to end in"
    assert partial == "1 of 3 cells were not measured: the time was used up"
    assert set(by_form(found)) == {"python good", "polars good"} and all(m.status == "ok" for m in found)


def test_a_retry_goes_on_after_the_cells_that_were_measured(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "good")
    first, _ = runner(toy).measure()
    journal = toy / "run" / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text(lines[0] + lines[1][:40])  # killed while it wrote the second line
    again, _ = runner(toy).measure()
    assert again[:3] == first[:3], "a cell that was measured is measured again"
    assert again[3:] != first[3:] and [m.form for m in again] == [m.form for m in first]
    assert runner(toy).measure()[0] == again


def test_a_cell_under_foreign_load_is_measured_again_and_then_shown_without_a_time(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "good")
    monkeypatch.setattr("comparison.measure.runner.FOREIGN_SHARE", -1.0)  # whatever others did is too much
    found, _ = runner(toy, engines=("polars",)).measure()
    assert {m.status for m in found} == {"loaded"} and all(m.seconds is None for m in found)


def test_a_process_that_would_change_no_verdict_is_not_started() -> None:
    forms = tuple(Form(*name.split(" "), toy_stage.good) for name in ("spark sql", "spark slow", "ray sort"))  # type: ignore[arg-type]
    stage = replace(toy_stage.STAGE, name="join", forms=forms)

    def cell(form: Form, process: int) -> Cell:
        return Cell(stage, form, "tuned", 10.0, process)

    once = [m for name, warm in (("spark sql", 1.0), ("spark slow", 40.0), ("ray sort", 30.0))
            for m in timings(name, 10, warm, processes=1)]  # fmt: skip
    assert [settled(cell(form, 1), once) for form in forms] == [False, True, False], "ray sort is its engine's fastest"
    decided = [*timings("spark sql", 10, 1.0), *timings("ray sort", 10, 30.0)]
    assert settled(cell(forms[0], 5), decided), "five processes decide it"
    tied = [*timings("spark sql", 10, 2.0, spread=0.2), *timings("ray sort", 10, 2.0, spread=0.2)]
    assert not settled(cell(forms[0], 5), tied)
    assert not settled(cell(forms[0], 0), decided)
