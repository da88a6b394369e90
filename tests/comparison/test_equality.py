"""Equal outputs first: a form that differs from what most forms agree on shows no time."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from comparison.form import Form, Stage, Work
from comparison.judge.equality import judged, kept_output
from comparison.results import Measurement, from_table, to_table


def nothing(work: Work) -> None:
    """A form that does nothing."""


ROWS = Stage("join", "", "", tuple(Form(engine, "x", nothing) for engine in ("spark", "ray", "polars", "python")))
FLOATS = replace(ROWS, compared="close", tolerance=1e-5)


def measured(engine: str, digest: str, variant: str = "x", phase: str = "warm", process: int = 0) -> Measurement:
    return Measurement(
        stage="join", engine=engine, variant=variant, settings="tuned", megabytes=10.0, process=process, phase=phase,  # type: ignore[arg-type]
        run=0, status="ok", seconds=1.0, cpu_seconds=1.0, peak_bytes=1, foreign_cores=0.0, load=0.1,
        digest=digest or None, rows=1, message="", started=datetime.now(UTC), lines=1, spilled_bytes=None,
        figures={"first_batch_seconds": 0.5},
    )  # fmt: skip


def statuses(found: list[Measurement]) -> dict[str, str]:
    return {m.form: m.status for m in found}


def test_the_odd_one_out_has_no_time_and_says_why(tmp_path: Path) -> None:
    found = judged([measured("spark", "a"), measured("ray", "b"), measured("polars", "a")], lambda _: ROWS, tmp_path)
    assert statuses(found) == {"spark x": "ok", "ray x": "unequal", "polars x": "ok"}
    (wrong,) = [m for m in found if m.status == "unequal"]
    assert wrong.seconds is None and "its output is b" in wrong.message


def test_forms_that_share_a_kernel_have_one_vote(tmp_path: Path) -> None:
    """Two forms with the same fault do not outvote the right one."""
    shared = (Form("spark", "x", nothing, kernel="batch"), Form("ray", "x", nothing, kernel="batch"))
    stage = replace(ROWS, forms=(*shared, Form("polars", "x", nothing)))
    faulty = [measured("spark", "b"), measured("ray", "b"), measured("polars", "a")]
    assert set(statuses(judged(faulty, lambda _: stage, tmp_path)).values()) == {"unequal"}, (
        "one against one: none is right"
    )
    judged_by_oracle = judged(faulty, lambda _: stage, tmp_path, lambda *_: "a")
    assert statuses(judged_by_oracle) == {"spark x": "unequal", "ray x": "unequal", "polars x": "ok"}
    assert "the oracle's is a" in judged_by_oracle[0].message


def test_forms_of_one_kernel_alone_are_compared_with_each_other(tmp_path: Path) -> None:
    stage = replace(ROWS, forms=tuple(Form(name, "x", nothing, kernel="k") for name in ("spark", "ray")))  # type: ignore[arg-type]
    same, apart = [measured("spark", "a"), measured("ray", "a")], [measured("spark", "a"), measured("ray", "b")]
    assert set(statuses(judged(same, lambda _: stage, tmp_path)).values()) == {"ok"}
    assert set(statuses(judged(apart, lambda _: stage, tmp_path)).values()) == {"unequal"}


def test_a_wrong_output_of_all_forms_is_seen_by_the_oracle(tmp_path: Path) -> None:
    all_wrong = [measured("spark", "b"), measured("ray", "b"), measured("polars", "b")]
    found = judged(all_wrong, lambda _: ROWS, tmp_path, lambda *_: "a")
    assert {m.status for m in found} == {"unequal"} and all(m.seconds is None for m in found)


def test_where_no_two_agree_none_has_a_time(tmp_path: Path) -> None:
    found = judged([measured("spark", "a"), measured("ray", "b")], lambda _: ROWS, tmp_path)
    assert {m.status for m in found} == {"unequal"} and all(m.seconds is None for m in found)


def test_a_form_that_is_right_only_sometimes_is_wrong(tmp_path: Path) -> None:
    found = judged(
        [measured("spark", "a"), measured("polars", "a"), measured("ray", "a"), measured("ray", "b", process=1)],
        lambda _: ROWS,
        tmp_path,
    )
    assert [m.status for m in found] == ["ok", "ok", "unequal", "unequal"]


def test_the_start_of_a_session_has_no_output_and_stays(tmp_path: Path) -> None:
    start = measured("spark", "", phase="start")
    assert judged([start, measured("spark", "a"), measured("ray", "a")], lambda _: ROWS, tmp_path)[0] == start


def test_one_form_alone_is_not_called_unequal(tmp_path: Path) -> None:
    assert statuses(judged([measured("ray", "a")], lambda _: ROWS, tmp_path)) == {"ray x": "ok"}


def test_floats_are_judged_by_distance(tmp_path: Path) -> None:
    all_ = [measured("spark", "1"), measured("ray", "2"), measured("python", "3")]
    for m, value in zip(all_, (1.0, 1.000001, 1.1), strict=True):
        place = kept_output(tmp_path, m)
        place.mkdir()
        pq.write_table(pa.table({"loss": [value]}), place / "part.parquet")
    found = judged(all_, lambda _: FLOATS, tmp_path)
    assert statuses(found) == {"spark x": "ok", "ray x": "ok", "python x": "unequal"}
    assert "differs by up to 0.1" in found[2].message


def test_results_survive_their_table() -> None:
    all_ = [measured("spark", "a"), replace(measured("ray", "b"), status="timeout", seconds=None, figures={})]
    assert from_table(to_table(all_)) == all_
