"""The page: nothing without an equal output has a time, failures and gaps are shown, and strings cannot break out."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from comparison.config import ComparisonConfig, first_look
from comparison.form import Stage
from comparison.page.render import render
from comparison.registry import NAMES
from comparison.results import Measurement
from etl.config import SourceConfig
from tests.comparison.synthetic import MACHINE, cell, failing, line, stage_named, stages, whole

METHOD = ComparisonConfig(sizes_mb=(10, 100, 300, 1000))


def page(
    measured: list[Measurement], config: ComparisonConfig = METHOD, partial: str | None = None, **machine: str
) -> str:
    return render(measured, MACHINE | machine, config, partial, stages(*measured))


def visible(html: str) -> str:
    """The text of a page with plain spaces, those of charts included."""
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_data(self, data: str) -> None:
            found.append(data)

    Reader().feed(re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL))
    return " ".join(" ".join(found).replace("\u202f", " ").split())


@pytest.fixture(scope="module")
def full() -> str:
    return page(whole())


def test_an_unequal_cell_shows_no_time_anywhere() -> None:
    """Not even of those of its runs that are not marked themselves."""
    wrong = [
        replace(m, status="unequal", seconds=None, message="its output is 999:bb") if m.phase == "first" else m
        for m in cell("spark sql", 10, 77.7, spread=0.0, extra=1.1)
    ]
    measured = [*wrong, *cell("ray sort", 10, 8.0), *cell("polars one process", 10, 8.5)]
    shown = visible(page(measured))
    assert not re.search(r"\b7[78]\.\d", shown) and "139.9" not in shown  # 77.7 s, 78.8 s, core-seconds
    assert "the output of Spark sql differs and shows no time" in shown
    assert "unequal output Spark sql, tuned, 10 MB: its output is 999:bb" in shown
    assert "77.7" in visible(page([*cell("spark sql", 10, 77.7, spread=0.0), *cell("ray sort", 10, 8.0)]))


def test_failures_are_results_without_a_time() -> None:
    told = {"timeout": "not done after 900 s", "memory": "it was killed", "failed": "no such column"}
    for status, message in told.items():
        shown = visible(page([*cell("spark sql", 10, 2.0), *failing("ray join", 10, status, message)]))  # type: ignore[arg-type]
        assert f"Ray join, tuned, 10 MB: {message}" in shown
        assert "no warm time at 10 MB" in shown  # where Ray loses


def test_a_form_under_foreign_load_leaves_its_stage_without_a_verdict() -> None:
    """Neither engine has won or lost where one of them could not be measured."""
    shown = visible(page([*cell("spark sql", 10, 2.0), *failing("ray join", 10, "loaded", "busy")]))
    assert "Ray join, tuned, 10 MB: busy" in shown and "not complete (1 form without a turn)" in shown
    assert "Spark alone" not in shown and "no warm time" not in shown


def test_a_comparison_that_ended_half_way_gives_no_false_verdict() -> None:
    """Three of four forms had their turn: no verdict of the stage, and no sentence across stages from it."""
    measured = [*cell("spark sql", 10, 2.0), *cell("ray sort", 10, 8.0), *cell("polars one process", 10, 0.1)]
    asked = [("join", form, "tuned", 10.0) for form in ("spark sql", "ray sort", "polars one process", "ray broadcast")]
    shown = visible(render(measured, MACHINE, METHOD, "1 of 4 cells was not measured", stages(*measured), asked))
    assert (
        "not complete (1 form without a turn)" in shown and "Ray broadcast, tuned, 10 MB: its turn never came" in shown
    )
    assert "is faster in" not in shown and "Nowhere: no process without an engine" in shown
    assert "Spark is faster in 1 of 1 stage" in visible(page(measured))


def test_the_top_tells_each_stage_its_winner_and_its_cost(full: str) -> None:
    shown = visible(full)
    top = shown[shown.index("Who is faster") : shown.index("Costs: Spark")]
    assert re.search(r"Join Spark [\d.]+× Spark [\d.]+× Spark [\d.]+× Spark [\d.]+× .* core-s", top)
    assert "Order ✗ some outputs differ either either either either" in top
    assert "faster in 4 of 6 stages at 10 MB" in shown and "Polars : without an engine" in shown


def test_the_whole_chain_is_the_headline(full: str) -> None:
    shown = visible(full)
    assert "The whole chain: the relay is the fastest, Spark alone takes 1.1× as long" in shown
    assert "When a training worker is killed half-way: Spark, retry: 7" in shown
    assert re.search(r"Ray, restart: 5\d\.\d s in all · lost 9\.0 s · restarts 1", shown)
    without = visible(page([m for m in whole() if m.stage != "chain"]))
    assert (
        "The whole chain" not in without
        and "10 MB, sessions included: Spark is faster in 4 of 6 stages, Ray in 1" in without
    )


def test_crossovers_are_told(full: str) -> None:
    shown = visible(full)
    assert re.search(r"Crossover: about 5\d0 MB, Spark below and Ray above\.", shown)
    assert "Crossover: none in range (10 MB to 1 GB)." in shown


def test_what_neither_engine_is_needed_for_and_where_each_loses(full: str) -> None:
    shown = visible(full)
    spark, ray, neither, cannot = (
        shown.index(heading)
        for heading in (
            "Where Spark loses",
            "Where Ray loses",
            "Where neither is needed",
            "What this machine cannot tell",
        )
    )
    assert "Recover : cold, Ray 1.4× at 10 MB; warm, Ray 1.4× at 10 MB" in shown[spark:ray]
    assert re.search(r"Feed : cold, Spark 1.*; warm, Spark 1", shown[ray:neither])
    assert "Clean : cold, Polars" in shown[neither:cannot]
    assert "near_duplicates" in shown[cannot:] and "there is no GPU" in shown[cannot:]
    assert "there is no GPU" not in visible(page(whole(), GPU="a GPU"))


def test_one_engine_that_never_loses_is_said_to_lose_nowhere() -> None:
    measured = [*cell("spark sql", 10, 2.0), *cell("ray sort", 10, 8.0)]
    assert "Nowhere: at no stage and size was another engine clearly faster." in visible(page(measured))


def test_a_partial_result_and_a_first_look_are_marked_at_the_top(full: str) -> None:
    assert "Partial result" not in full and "A first look" not in full
    few = cell("spark sql", 10, 2.0, processes=1, warm_runs=2) + cell("ray sort", 10, 8.0, processes=1, warm_runs=2)
    shown = visible(page(few, first_look(), "12 of 40 cells were not measured: the time was used up"))
    top = shown[: shown.index("Who is faster")]
    assert "Partial result. 12 of 40 cells were not measured" in top
    assert "A first look. Some forms have only 1 process and 2 warm runs; the method asks for 5 and 3." in top
    assert "no verdict is given" in top
    table = shown[shown.index("Who is faster") : shown.index("Costs: Spark")]
    assert re.search(r"Spark [\d.]+ s · Ray [\d.]+ s", table) and "×" not in table.partition("without an engine")[2]


def test_defaults_stand_beside_tuned() -> None:
    measured = [*cell("ray sort", 10, 8.0, spread=0.0), *cell("ray sort", 10, 31.0, spread=0.0, settings="default")]
    assert "14.4 s (14.4–14.4) 8.0 s (8.0–8.0) 31.0 s (31.0–31.0)" in visible(page(measured))


def test_a_chart_from_two_sizes_on_and_bars_always() -> None:
    one = page([*cell("spark sql", 10, 2.0), *cell("ray sort", 10, 8.0)])
    assert "<svg" not in one and "Cold and warm at" in one
    two = page([*line("spark sql", 1, 0.1, (10.0, 100.0)), *line("ray sort", 2, 0.1, (10.0, 100.0))])
    assert two.count("<svg") == 1 and "var(--spark)" in two and not re.findall(r"stroke: #[0-9a-f]{6}", two)


def test_the_code_of_every_form_is_on_the_page(full: str) -> None:
    assert full.count("Stands for a form&#39;s code on the page.") == len({(m.stage, m.form) for m in whole()})


def test_functions_that_a_form_calls_are_shown_with_it() -> None:
    measured = [*cell("spark sql", 10, 2.0), *cell("ray sort", 10, 8.0)]

    def with_parts(name: str) -> Stage:
        stage = stages(*measured)(name)
        return replace(stage, forms=tuple(replace(form, sources=(stage_named,)) for form in stage.forms))

    shown = visible(render(measured, MACHINE, METHOD, None, with_parts))
    assert shown.count("def stage_named(") == 2 and shown.count("def sample_form(") == 2


def test_hostile_strings_are_escaped_and_credentials_masked() -> None:
    hostile = "<script>alert(1)</script>"
    bad = failing("ray join", 10, "failed", f"{hostile} at s3://key:secret@bucket")
    config = METHOD.model_copy(update={"source": SourceConfig(uri=f"/data/{hostile}.txt")})
    figures = {f"{hostile}_seconds": 1.0}
    html = page([*cell("spark sql", 10, 2.0, figures=figures), *bad], config, partial=hostile, Processor=hostile)
    assert "<script" not in html and html.count("&lt;script&gt;") >= 5
    assert "secret" not in html and "s3://…@bucket" in html
    assert "<b>{work" not in html  # of a form's code


def test_it_opens_offline(full: str) -> None:
    assert not re.search(r"(src|href)=\"(?!#)", full) and "http" not in re.sub(r"http-equiv", "", full)
    for link in re.findall(r'href="#([^"]+)"', full):
        assert f'id="{link}"' in full
    identities = re.findall(r'\bid="([^"]+)"', full)
    assert len(identities) == len(set(identities))


def test_nothing_but_failures_is_a_page_too() -> None:
    shown = visible(
        page(failing("spark sql", 10, "memory", "it was killed") + failing("ray sort", 10, "failed", "why"))
    )
    assert "No stage has a time" in shown and "out of memory" in shown and NAMES[0] in shown
