"""Charts: what they draw, and that they follow the page's colours."""

import re

import pytest

from handoff.facts import Step
from reporting.charts import loss_chart, running_mean, speed_chart, thin


def steps(*losses: float | None) -> list[Step]:
    return [Step(step=n, loss=loss, tokens_per_second=100.0 + n) for n, loss in enumerate(losses, 1)]


def test_colours_and_fonts_are_the_pages_own() -> None:
    svg = str(loss_chart(steps(4.0, 3.5, 3.2)))
    assert "var(--ray)" in svg and "var(--muted)" in svg
    assert not re.findall(r"#[0-9a-f]{6}\b", svg)
    assert "DejaVu" not in svg and "font-size" in svg


def test_says_what_it_shows_to_those_who_cannot_see_it() -> None:
    svg = str(loss_chart(steps(4.0, 3.5, 3.25)))
    assert 'role="img"' in svg
    assert "<title>Training loss in cross-entropy per token, 3 points: from 4 to 3.25, lowest 3.25</title>" in svg
    assert "optimizer step</text>" in svg


@pytest.mark.parametrize("losses", [(), (4.0,), (4.0, None)])
def test_no_chart_of_fewer_than_two_points(losses: tuple[float | None, ...]) -> None:
    assert loss_chart(steps(*losses)) is None


def test_steps_without_a_finite_loss_are_left_out() -> None:
    assert "2 points: from 4 to 3" in str(loss_chart(steps(4.0, None, 3.0)))


def test_no_speed_chart_where_nothing_was_measured() -> None:
    assert speed_chart([Step(step=1, loss=4.0), Step(step=2, loss=3.0)]) is None


def test_long_runs_are_thinned_by_means_that_keep_the_whole() -> None:
    points = [(n, float(n % 7)) for n in range(10_000)]
    few = thin(points, most=400)
    assert len(few) == 400
    assert sum(y for _, y in few) / len(few) == pytest.approx(sum(y for _, y in points) / len(points))
    assert thin(points[:5]) == points[:5]


def test_running_mean_looks_back_only() -> None:
    assert running_mean([4.0, 2.0, 3.0, 9.0], 2) == [4.0, 3.0, 2.5, 6.0]
