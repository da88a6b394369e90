"""The advisor recovers costs that are known, says when it cannot tell, and its regret is computed right."""

from typing import Any

import numpy as np
import pytest

from comparison.advisor import Advisor
from comparison.fit import COSTS, Cell
from comparison.regret import ADVISOR, RULE, validate
from comparison.results import Measurement
from handoff.errors import ConfigError
from tests.comparison.timings import cell, measurement, noisy

SIZES = (10.0, 30.0, 100.0, 300.0)
SPARK = (6.0, 0.8, 0.02, 0.01, 0.05, 3.0, 0.0)  # seconds per unit of each of COSTS
RAY = (7.0, 12.0, 0.03, 0.0, 0.01, 2.0, 0.0)
KINDS: dict[str, dict[str, Any]] = {
    "clean": {}, "aggregate": {"shuffles": 1}, "join": {"shuffles": 2}, "order": {"shuffles": 3},
    "tokenise": {"python_rows": True}, "embed": {"python_rows": True, "loads_model": True},
}  # fmt: skip


def synthetic(noise: float = 0.0) -> list[Measurement]:
    draw = np.random.default_rng(0)
    rows = []
    for stage, facts in KINDS.items():
        for engine, costs in (("spark", SPARK), ("ray", RAY)):
            for size in SIZES:
                flags = {"shuffles": 0, "python_rows": False, "loads_model": False} | facts
                seconds = float(Cell(stage, engine, "", size, **flags, seconds=()).costs @ costs)
                rows += cell(stage, f"{engine} usual", size, noisy(seconds, noise, draw), start=1.0, **facts)
    return rows


@pytest.mark.parametrize(("noise", "apart"), [(0.0, 1e-4), (0.03, 0.25)])
def test_known_costs_are_recovered(noise: float, apart: float) -> None:
    advisor = Advisor(synthetic(noise))
    for engine, known in (("spark", SPARK), ("ray", RAY)):
        found = advisor.coefficients(engine)
        assert tuple(found) == COSTS
        for name, true in zip(COSTS, known, strict=True):
            assert found[name] == pytest.approx(true, rel=apart, abs=0.01 if noise else 1e-4), name
            assert found[name] >= 0


def test_small_times_weigh_as_much_as_large_ones() -> None:
    # By seconds alone, the fit would meet 1,000 s and leave 2 s three times too long.
    times = {1.0: 2.0, 10.0: 11.0, 100.0: 100.0, 1000.0: 1000.0}
    rows = [row for size, t in times.items() for row in cell("clean", "ray usual", size, [t, t, t])]
    advisor = Advisor([*rows, *cell("clean", "spark usual", 1.0, [1.0])])
    predicted = {p.form: p for p in advisor.ask("clean", 3.0, among=("ray",)).predictions}["ray usual"]
    assert predicted.basis == "fitted"
    assert predicted.seconds == pytest.approx(4.0, rel=0.05)


def test_an_unseen_size_and_an_unseen_stage_are_predicted() -> None:
    rows = synthetic()
    assert {p.form: round(p.seconds, 2) for p in Advisor(rows).ask("join", 1000.0).predictions} == {
        "spark usual": 6 + 1.6 + 20 + 20, "ray usual": 7 + 24 + 30,
    }  # fmt: skip
    without = Advisor([m for m in rows if m.stage != "aggregate"])
    asked = [Cell("aggregate", e, f"{e} usual", 100.0, 1, False, False, ()) for e in ("spark", "ray")]
    answer = without.ask("aggregate", 100.0, unmeasured=asked)
    assert {p.form: round(p.seconds, 1) for p in answer.predictions} == {"spark usual": 9.8, "ray usual": 22.0}
    assert {p.basis for p in answer.predictions} == {"engine"}
    assert answer.choice == "spark"


def test_either_where_intervals_overlap_and_one_engine_where_they_do_not() -> None:
    spark = cell("join", "spark sql", 10.0, [9.0, 10.0, 11.0])
    assert Advisor([*spark, *cell("join", "ray usual", 10.0, [10.0, 10.9, 12.0])]).ask("join", 10.0).choice == "either"
    clear = Advisor([*spark, *cell("join", "ray usual", 10.0, [14.0, 15.0, 16.0])]).ask("join", 10.0)
    assert clear.choice == "spark"
    assert (clear.best.seconds, clear.best.low, clear.best.high) == (10.0, 9.0, 11.0)


def test_a_single_process_is_not_taken_for_certain() -> None:
    rows = [*cell("join", "spark sql", 10.0, [10.0]), *cell("join", "ray usual", 10.0, [11.0])]
    answer = Advisor(rows).ask("join", 10.0)
    assert answer.choice == "either"
    assert answer.best.low < 9 < 11 < answer.best.high


def test_whole_runs_and_warm_ones_have_answers_of_their_own() -> None:
    rows = [
        *cell("join", "spark sql", 10.0, [9.0, 9.0, 9.1], start=6.0, warm=[2.0, 2.1, 2.2]),
        *cell("join", "ray usual", 10.0, [12.0, 12.0, 12.1], start=4.0, warm=[0.5, 0.4, 0.5]),
    ]
    assert Advisor(rows).ask("join", 10.0).choice == "spark"
    warm = Advisor(rows, warm=True).ask("join", 10.0)
    assert (warm.choice, warm.best.seconds) == ("ray", 0.5)


def test_tuned_times_count_and_defaults_do_not() -> None:
    rows = [*cell("join", "spark sql", 10.0, [30.0], settings="default"), *cell("join", "spark sql", 10.0, [10.0])]
    assert Advisor(rows).ask("join", 10.0).best.seconds == 10.0


@pytest.mark.parametrize("size", [0.9, 3001.0])
def test_no_answer_far_outside_of_what_was_measured(size: float) -> None:
    advisor = Advisor(synthetic())
    with pytest.raises(ConfigError, match=r"more than 10 times beyond what was measured \(10 to 300 MB\)"):
        advisor.ask("join", size)
    assert advisor.ask("join", 2999.0).predictions, "ten times is not too far"


def test_one_size_says_nothing_of_another() -> None:
    advisor = Advisor(cell("join", "spark sql", 10.0, [10.0]))
    with pytest.raises(ConfigError, match="measured at 10 MB only"):
        advisor.ask("join", 20.0)


def test_a_stage_that_was_not_measured_and_a_comparison_without_times() -> None:
    with pytest.raises(ConfigError, match=r"'feed' was not measured.*join"):
        Advisor(synthetic()).ask("feed", 10.0)
    with pytest.raises(ConfigError, match="no whole run that succeeded"):
        Advisor([measurement("join", "spark sql", 10.0, None, status="timeout")])


def test_a_form_that_failed_is_not_advised_from_there_on() -> None:
    rows = [
        row
        for size in (10.0, 100.0)
        for form, t in (("spark sql", size), ("ray usual", size / 2))
        for row in cell("join", form, size, [t, t, t])
    ]
    rows += cell("join", "ray usual", 300.0, [150.0])  # one of its processes ended well
    rows.append(measurement("join", "ray usual", 300.0, None, process=1, status="memory", message="killed"))
    advisor = Advisor(rows)
    assert advisor.ask("join", 200.0).choice == "ray"
    answer = advisor.ask("join", 300.0)
    assert (answer.choice, answer.failed) == ("spark", {"ray usual": "memory at 300 MB"})


def test_regret_of_a_case_worked_by_hand() -> None:
    """Two stages at 10, 20 and 40 MB; 40 MB is kept from the advisor, where *clean* turns against what it saw."""
    rows = []
    for size, spark, ray in ((10, 2, 1), (20, 4, 2), (40, 8, 10)):
        rows += cell("clean", "spark sql", size, [spark] * 3) + cell("clean", "ray usual", size, [ray] * 3)
    for size, spark, ray in ((10, 1, 3), (20, 2, 6), (40, 4, 12)):
        rows += cell("join", "spark sql", size, [spark] * 3, shuffles=1)
        rows += cell("join", "ray usual", size, [ray] * 3, shuffles=1)
    once = cell("train", "spark local", 10, [9] * 3) + cell("train", "ray trainer", 10, [5] * 3)
    largest = validate(rows + once)[0]  # a stage with one size has no largest one
    assert (largest.unseen, largest.cells, largest.refused) == ("the largest size", 2, 0)
    # Seen 1 and 2 s, the advisor expects 4 s of Ray for clean: it takes 10, Spark 8. Join: Spark is right.
    figures = {name: (r.median, r.maximum) for name, r in largest.regrets.items()}
    assert figures[ADVISOR] == pytest.approx((0.125, 0.25))
    assert figures["always spark"] == pytest.approx((0.0, 0.0))
    assert figures["always ray"] == pytest.approx((1.125, 2.0))
    assert figures[RULE] == pytest.approx((0.125, 0.25))
    assert largest.regrets[ADVISOR].p95 == pytest.approx(0.25)


def test_what_is_judged_is_kept_from_the_advisor() -> None:
    """*clean* alone has Ray ahead. An advisor that had seen it would choose Ray; by the other stages it cannot."""
    rows = []
    for stage in ("clean", "join", "order"):
        for size in (10, 100):
            rows += cell(stage, "spark sql", size, [size / 10] * 3)
            rows += cell(stage, "ray usual", size, [size / 20 if stage == "clean" else size / 5] * 3)
    left_out = next(v for v in validate(rows) if v.unseen == "a whole stage")
    assert left_out.cells == 6
    assert left_out.regrets[ADVISOR].maximum == pytest.approx(1.0)
    another = validate(rows, other_day=rows)[-1]
    assert (another.unseen, another.regrets[ADVISOR].maximum) == ("another run", 0.0)


def test_a_choice_that_failed_has_infinite_regret() -> None:
    rows = []
    for size in (10, 100):
        rows += cell("join", "spark sql", size, [size] * 3) + cell("join", "ray usual", size, [size / 5] * 3)
    rows += cell("join", "spark sql", 1000, [1000.0] * 3)
    rows.append(measurement("join", "ray usual", 1000, None, status="timeout"))
    largest = validate(rows)[0]
    assert largest.regrets[ADVISOR].maximum == largest.regrets["always ray"].maximum == float("inf")
    assert largest.regrets["always spark"].maximum == 0.0
