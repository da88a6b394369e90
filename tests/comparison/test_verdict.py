"""Verdicts: who wins, when nobody does, where it changes, and which results have no time."""

from dataclasses import replace

import pytest

from comparison.judge.findings import at_largest
from comparison.judge.outcomes import Outcome, estimate, outcomes_of
from comparison.judge.verdict import Verdict, crossover, summary_lines, verdicts_of, word
from comparison.results import Measurement
from tests.comparison.synthetic import cell, failing, line, unequal


def only(measurements: list[Measurement]) -> Outcome:
    (outcome,) = outcomes_of(measurements)
    return outcome


def warm(measurements: list[Measurement]) -> list[Verdict]:
    return verdicts_of(outcomes_of(measurements), "warm")


def test_the_median_is_over_processes_not_over_runs() -> None:
    """A process with many runs counts no more than one with few."""
    found = estimate([[1.0] * 9, [5.0], [6.0], [4.0], [7.0]])
    assert found.median == 5.0 and found.low is not None and found.high is not None
    assert found.low < found.median < found.high


def test_an_interval_holds_its_median_and_is_the_same_each_time() -> None:
    processes = [[2.0, 2.2, 1.9], [2.4, 2.5, 2.3], [2.1, 2.0, 2.6], [2.2], [2.3]]
    found = estimate(processes)
    assert found.low is not None and found.high is not None
    assert 1.9 <= found.low <= found.median <= found.high <= 2.6
    assert estimate(processes) == found


@pytest.mark.parametrize("processes", [1, 4])
def test_few_processes_give_a_time_and_no_verdict(processes: int) -> None:
    few = [*cell("spark sql", 10, 1.0, processes=processes), *cell("ray sort", 10, 30.0, processes=processes)]
    assert [o.warm and o.warm.low for o in outcomes_of(few)] == [None, None]
    (verdict,) = warm(few)
    assert verdict.winner == "open" and not verdict.decided and "fewer than 5 processes" in word(verdict)


def test_a_stage_has_no_verdict_before_each_of_its_forms_had_its_turn() -> None:
    measured = [*cell("spark sql", 10, 1.0), *cell("ray sort", 10, 30.0)]
    asked = [("join", form, "tuned", 10.0) for form in ("spark sql", "ray sort", "ray broadcast")]
    (verdict,) = verdicts_of(outcomes_of(measured, asked), "warm")
    assert verdict.missing == ("ray broadcast",) and verdict.winner == "open" and "not complete" in word(verdict)
    assert warm(measured)[0].winner == "spark"


def test_an_engine_without_a_time_for_others_sake_has_not_lost() -> None:
    busy = [replace(m, status="loaded", seconds=None, message="busy") for m in cell("ray sort", 10, 3.0)]
    (verdict,) = warm([*cell("spark sql", 10, 1.0), *busy])
    assert verdict.winner == "open" and verdict.without == ()


def test_phases_are_told_apart() -> None:
    outcome = only(cell("spark sql", 10, 2.0, extra=1.5, spread=0.0))
    assert outcome.start and outcome.first and outcome.warm and outcome.cold
    assert outcome.warm.median == pytest.approx(2.0)
    assert outcome.first.median == pytest.approx(3.5)
    assert outcome.cold.median == pytest.approx(outcome.start.median + 3.5)


def test_overlapping_intervals_give_either() -> None:
    close = [*cell("spark sql", 10, 2.00, spread=0.15), *cell("ray map_batches", 10, 2.02, spread=0.15)]
    (verdict,) = warm(close)
    assert verdict.winner == "either" and word(verdict) == "either" and not verdict.decided


def test_the_fastest_form_of_each_engine_counts() -> None:
    (verdict,) = warm([*cell("spark sql", 10, 9.0), *cell("spark mapInArrow", 10, 2.0), *cell("ray sort", 10, 8.0)])
    assert verdict.winner == "spark"
    assert verdict.ranked[0].variant == "mapInArrow"
    assert verdict.factor == pytest.approx(4.0, rel=0.1)


def test_warm_and_cold_may_have_different_winners() -> None:
    outcomes = outcomes_of([*cell("spark sql", 10, 2.0, extra=9.0), *cell("ray sort", 10, 4.0, extra=0.5)])
    assert [verdicts_of(outcomes, t)[0].winner for t in ("warm", "cold")] == ["spark", "ray"]  # type: ignore[arg-type]


def test_a_process_without_an_engine_wins_apart() -> None:
    (verdict,) = warm([*cell("spark sql", 10, 4.0), *cell("ray sort", 10, 8.0), *cell("polars one process", 10, 1.0)])
    assert verdict.winner == "spark"
    assert verdict.neither == pytest.approx(4.0, rel=0.1)


def test_the_crossover_of_two_lines_is_found() -> None:
    """1 + 0.05 x and 11 + 0.01 x meet at 250 MB, where the logarithms are only nearly straight."""
    sizes = (10.0, 100.0, 200.0, 300.0, 1000.0)
    found = crossover(
        warm([*line("spark sql", 1, 0.05, sizes, spread=0.0), *line("ray sort", 11, 0.01, sizes, spread=0.0)])
    )
    assert found is not None
    assert found[0] == pytest.approx(250, rel=0.02)
    assert found[1:] == ("spark", "ray")


def test_no_crossover_where_one_engine_is_always_ahead_or_the_rest_is_a_tie() -> None:
    sizes = (10.0, 100.0, 1000.0)
    assert crossover(warm([*line("spark sql", 1, 0.01, sizes), *line("ray sort", 9, 0.02, sizes)])) is None
    ahead = [*line("spark sql", 1, 0.01, sizes[:2]), *line("ray sort", 9, 0.02, sizes[:2])]
    tie = [*cell("spark sql", 1000, 20.1, spread=0.2), *cell("ray sort", 1000, 20.0, spread=0.2)]
    assert crossover(warm([*ahead, *tie])) is None


def test_a_process_that_failed_makes_the_form_fail() -> None:
    good = cell("ray join", 10, 2.0)
    bad = [replace(m, process=9) for m in failing("ray join", 10, "timeout", "not done after 900 s")]
    outcome = only([*good, *bad])
    assert outcome.status == "timeout" and outcome.warm is None
    assert outcome.message == "not done after 900 s (1 of 6 processes)"


def test_a_process_under_foreign_load_is_left_out_and_alone_is_no_time() -> None:
    good = cell("ray join", 10, 2.0, spread=0.0)
    loaded = [replace(m, status="loaded", seconds=None, process=8, message="busy") for m in good if m.process == 0]
    assert only([*good, *loaded]).warm == only(good).warm
    assert only(loaded).status == "loaded" and only(loaded).cold is None


def test_an_unequal_form_is_not_ranked() -> None:
    (verdict,) = warm([*unequal(cell("spark sql", 10, 0.1)), *cell("ray sort", 10, 8.0)])
    assert verdict.winner == "ray" and verdict.without == ("spark",) and word(verdict) == "Ray alone"


def test_a_form_that_started_and_did_nothing_more_has_no_time() -> None:
    start_only = [m for m in cell("ray join", 10, 2.0) if m.phase == "start"]
    assert only(start_only).status == "failed"


def test_the_log_has_a_line_per_stage() -> None:
    found = summary_lines(
        [*cell("spark sql", 10, 2.0), *cell("ray sort", 10, 8.0), *cell("ray map", 10, 8.0, stage="clean")]
    )
    assert [told.partition(":")[0] for told in found] == ["join", "clean"]
    assert "× cold at 10\u202fMB · Spark 4" in found[0] and "only Ray measured" in found[1]


def test_a_contender_whose_turn_never_came_has_not_failed() -> None:
    """A comparison that ends in the middle: Ray was not measured at the largest size."""
    found = [
        *cell("spark sql", 10.0, 1.0),
        *cell("ray sort", 10.0, 3.0),
        *cell("spark sql", 100.0, 2.0),
    ]
    small, large = warm(found)
    assert word(large) == "only Spark measured" and not large.decided
    assert at_largest([small, large]) == [small], "the size at which both were measured counts"
    failed = warm([*cell("spark sql", 10.0, 1.0), *failing("ray sort", 10.0, "timeout", "not done after 9 s")])
    assert word(failed[0]) == "Spark alone"
