"""``python -m comparison.advise`` answers from what was published for this kind of machine, and from nothing else."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from comparison.advise import main, one_line, size_of
from comparison.config import ComparisonConfig
from comparison.judge.known import known
from comparison.judge.lookup import cuts
from comparison.registry import stage
from comparison.results import RESULTS, SCHEMA, Measurement, to_table
from handoff.artifact import Artifact
from handoff.errors import ConfigError
from handoff.facts import ComparisonFacts
from handoff.publish import staging
from handoff.store import Store
from tests.comparison.synthetic import cell, line

FACTS = ComparisonFacts(machine={"Processor": "a CPU", "Cores": "2"}, measurements=1)
SIZES = (10.0, 100.0)
CLEAN, DEDUPLICATE = (tuple(form.name for form in stage(name).forms) for name in ("clean", "deduplicate"))


def publish(store: Store, rows: list[Measurement], facts: ComparisonFacts = FACTS, **asked: Any) -> Artifact:
    config = ComparisonConfig(
        **{"sizes_mb": SIZES, "stages": ("clean", "deduplicate"), "defaults": False, **asked}
    ).model_dump(mode="json")
    with staging(store, "comparison", {"run": f"{len(rows)}-{asked}", **config}, []) as place:
        Path(place.uri()).mkdir(parents=True, exist_ok=True)
        pq.write_table(to_table(rows), f"{place.uri()}/{RESULTS}")
        return place.publish(schema=SCHEMA, facts=facts)


def timings(
    spark: float, ray: float, sizes: tuple[float, ...] = SIZES, stages: str = "clean deduplicate"
) -> list[Measurement]:
    """Warm seconds per MB of every form of two stages; Ray's clean is ten times as fast as its de-duplication."""
    rows = []
    for name, forms in (("clean", CLEAN), ("deduplicate", DEDUPLICATE)):
        for form in forms if name in stages else ():
            rate = {"spark": spark, "ray": ray / (10 if name == "clean" else 1), "polars": 1.0}[form.split(" ")[0]]
            rows += line(form, 0.0, rate, sizes, stage=name, spread=0.001, extra=0.0)
    return rows


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "artifacts"))


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@pytest.fixture
def advise(store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """The command, in this process."""
    monkeypatch.setenv("BATON_STORAGE", store.root)

    def run(*arguments: str) -> Said:
        code = main(list(arguments))
        told = capsys.readouterr()
        return Said(code, told.out.replace("\u202f", " "), told.err.replace("\u202f", " "))

    return run


def test_a_measured_size_is_answered_by_its_cells(store: Store, advise: Callable[..., Said]) -> None:
    made = publish(store, timings(spark=0.1, ray=0.5))
    said = advise("100MB", "deduplicate")
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[0] == "deduplicate at 100 MB, as measured:"
    assert lines[1].startswith("  cold: Spark 3.") and lines[2].startswith("  warm: Spark 5.0×: Spark ")
    assert "an engine is worth it: Polars one process takes 100 s with its start, Spark " in said.out
    assert "nothing was spilled to disk" in said.out
    assert f"From {made.id}, {made.manifest.created:%Y-%m-%d}, Processor a CPU, Cores 2" in said.out


def test_a_size_between_two_is_answered_by_both_and_one_beyond_is_refused(
    store: Store, advise: Callable[..., Said]
) -> None:
    publish(store, timings(spark=0.1, ray=0.5))
    said = advise("50MB", "clean").out
    assert "clean at 10 MB, as measured:" in said and "clean at 100 MB, as measured:" in said
    beyond = advise("2GB", "clean")
    assert beyond.code == 2
    assert beyond.err.startswith("ERROR: 2 GB is not within what was measured (10 MB, 100 MB). Remedy: measure it")


def test_a_stage_that_was_never_measured_is_refused(store: Store, advise: Callable[..., Said]) -> None:
    publish(store, timings(0.1, 0.5))
    said = advise("10", "order")
    assert said.code == 2 and said.err.startswith("ERROR: order was not measured on this machine (measured: clean, ")


def test_where_the_hand_off_should_lie_is_added_up_from_measured_stages(
    store: Store, advise: Callable[..., Said]
) -> None:
    """Spark is slower in clean and faster in deduplicate: no cut helps, and one engine alone saves a session."""
    publish(store, timings(spark=0.1, ray=0.5))
    found = known(store)
    assert found is not None
    by_place = {c.last_on_spark: c.seconds for c in cuts(found.outcomes, 100.0)}
    assert by_place[""] == pytest.approx(5.4 + 5 + 50, rel=0.02)
    assert by_place["deduplicate"] == pytest.approx(6.1 + 10 + 10, rel=0.02)
    assert by_place["clean"] == pytest.approx(6.1 + 10 + 5.4 + 50, rel=0.02)
    assert "hand-off at 100 MB, sessions and warm runs added up: all on Spark 26" in advise("100", "clean").out


def test_comparisons_of_the_same_machine_add_their_sizes_and_the_newest_counts(
    store: Store, advise: Callable[..., Said]
) -> None:
    first = publish(store, timings(spark=0.1, ray=0.5))
    assert advise("100", "deduplicate").out.count("warm: Spark") == 1
    last = publish(store, timings(spark=0.5, ray=0.1, sizes=(100.0,)), sizes_mb=(100.0,))
    said = advise("100", "deduplicate").out
    assert "warm: Ray 5.0×" in said and f"From {last.id}" in said
    assert "warm: Spark" in advise("10", "deduplicate").out and f"From {first.id}" in said


@pytest.mark.parametrize(
    "other",
    [
        {"machine": {"Processor": "another CPU", "Cores": "2"}},
        {"machine": {"Processor": "a CPU", "Cores": "64"}},
        {"engine_settings": {"ray": {"RAY_num_workers_soft_limit": "2"}}},
    ],
    ids=["CPU", "cores", "engine's settings"],
)
def test_figures_of_another_machine_or_of_other_settings_are_left_alone(store: Store, other: dict[str, Any]) -> None:
    publish(store, timings(spark=0.1, ray=0.2), FACTS.model_copy(update=other))
    mine = publish(store, timings(spark=0.4, ray=0.2, stages="clean"), stages=("clean",))
    found = known(store)
    assert found is not None and [one.id for one in found.artifacts] == [mine.id]


def test_a_comparison_that_ended_half_way_gives_no_verdict(store: Store, advise: Callable[..., Said]) -> None:
    rows = [m for m in timings(0.1, 0.5) if m.form != "ray digests"]
    publish(store, rows, FACTS.model_copy(update={"partial": "2 of 18 cells were not measured"}))
    said = advise("100", "deduplicate").out
    assert "warm: not complete (1 form without a turn)" in said and "Spark 5.0×" not in said
    assert "no time: Ray digests, its turn never came" in said and "2 of 18 cells were not measured" in said
    assert "warm: Ray 2.0×" in advise("100", "clean").out, "every form of this stage had its turn"


def test_the_plan_gets_one_line_on_what_was_measured_near_its_size(store: Store) -> None:
    assert one_line(store, 20.0) is None
    publish(store, timings(spark=0.1, ray=0.5))
    said = (one_line(store, 120.0) or "").replace("\u202f", " ")
    assert said.startswith(
        "engines at 100 MB, sessions included: Ray is faster in clean 1.5×; Spark is faster in deduplicate"
    )
    assert (one_line(store, 20_000.0) or "").startswith("engines: nothing was measured near")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("50", "dedup"), "the comparison has no stage 'dedup'. Did you mean 'deduplicate'?"),
        (("50", "sort"), "the comparison has no stage 'sort'. Did you mean 'order'?"),
        (("many", "deduplicate"), "'many' is not a size. Remedy:"),
    ],
)
def test_a_question_without_an_answer_says_why(
    store: Store, advise: Callable[..., Said], arguments: tuple[str, ...], why: str
) -> None:
    publish(store, timings(spark=0.1, ray=0.2))
    said = advise(*arguments)
    assert said.code == 2
    assert said.err.startswith(f"ERROR: {why}")


def test_nothing_measured_says_how_to_measure(advise: Callable[..., Said]) -> None:
    said = advise("50", "deduplicate")
    assert said.code == 2
    assert "no comparison was published Remedy: run make compare" in said.err


def test_sizes_have_units() -> None:
    assert [size_of(text) for text in ("300", "300MB", " 2 gb", "1.5TB")] == [300, 300, 2000, 1.5e6]
    with pytest.raises(ConfigError):
        size_of("0")


def test_few_processes_are_times_without_a_verdict(store: Store, advise: Callable[..., Said]) -> None:
    rows = [m for form in CLEAN for m in cell(form, 10.0, 1.0, stage="clean", processes=1)]
    publish(store, rows, stages=("clean",), sizes_mb=(10.0,), processes=1)
    assert "no verdict (fewer than 5 processes)" in advise("10", "clean").out
