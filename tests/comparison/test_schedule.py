"""The order of cells: engines in turns, small sizes first, a stage that does not scale at one size."""

import pytest
from pydantic import ValidationError

from comparison.config import ComparisonConfig, first_look, whole_method
from comparison.form import Form, Stage
from comparison.schedule import cells_of


def nothing(_: object) -> None:
    return None


@pytest.fixture
def two_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    forms = (
        Form("spark", "sql", nothing),
        Form("ray", "shuffle", nothing),
        Form("polars", "one", nothing, tunable=False),
    )
    found = (Stage("join", "", "", forms), Stage("train", "", "", forms[:2], scales=False))
    monkeypatch.setattr("comparison.schedule.stages", lambda names: [s for s in found if s.name in names])


@pytest.mark.usefixtures("two_stages")
def test_rounds_go_forwards_and_backwards() -> None:
    config = ComparisonConfig(stages=("join",), processes=3, defaults=False)
    rounds = [[c.form.engine for c in cells_of(config) if c.process == p] for p in range(3)]
    assert rounds == [["spark", "ray", "polars"], ["polars", "ray", "spark"], ["spark", "ray", "polars"]]


@pytest.mark.usefixtures("two_stages")
def test_small_sizes_come_first_in_each_round_and_defaults_only_where_they_differ() -> None:
    config = ComparisonConfig(stages=("join", "train"), sizes_mb=(100, 10), processes=1)
    told = [(c.stage.name, c.megabytes, c.form.engine, c.settings) for c in cells_of(config)]
    assert told[0] == ("join", 10, "spark", "tuned") and told[-1][1] == 100
    assert ("join", 10, "polars", "default") not in told and ("join", 10, "ray", "default") in told
    assert {t[1] for t in told if t[0] == "train"} == {10}
    assert len({c.key for c in cells_of(config)}) == len(told)


@pytest.mark.usefixtures("two_stages")
def test_an_engine_that_was_not_asked_for_is_not_measured() -> None:
    assert {c.form.engine for c in cells_of(ComparisonConfig(stages=("join",), engines=("ray",)))} == {"ray"}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"stages": ("jion",)}, "Did you mean 'join'"),
        ({"stages": ("sort",)}, "Did you mean 'order'"),
        ({"sizes_mb": (0,)}, "a size is not between"),
        ({"sizes_mb": (10, 10)}, "sizes_mb has a value twice"),
        ({"engines": ("flink",)}, "engines"),
    ],
)
def test_a_wrong_setting_is_named(wrong: dict, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        ComparisonConfig(**wrong)


def test_only_the_whole_method_is_not_a_first_look() -> None:
    assert first_look().first_look and not whole_method().first_look
