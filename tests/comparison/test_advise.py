"""``python -m comparison.advise`` answers from what was published last, and says what the answer is worth."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from comparison.advise import main, one_line, size_of
from comparison.known import known
from comparison.results import RESULTS, SCHEMA, Measurement, to_table
from handoff.artifact import Artifact
from handoff.errors import ConfigError
from handoff.facts import ComparisonFacts
from handoff.publish import staging
from handoff.store import Store
from tests.comparison.timings import cell, measurement

FACTS = ComparisonFacts(machine={"Processor": "a CPU", "Cores": "2"}, measurements=1)


def publish(store: Store, rows: list[Measurement], facts: ComparisonFacts = FACTS) -> Artifact:
    with staging(store, "comparison", {"rows": len(rows)}, []) as place:
        Path(place.uri()).mkdir(parents=True, exist_ok=True)
        pq.write_table(to_table(rows), f"{place.uri()}/{RESULTS}")
        return place.publish(schema=SCHEMA, facts=facts)


def timings(spark: float, ray: float) -> list[Measurement]:
    """Seconds per MB of two stages at two sizes; Ray's clean is always three times as fast as its deduplicate."""
    rows = []
    for size in (10.0, 100.0):
        for stage, shuffles, share in (("deduplicate", 1, 1.0), ("clean", 0, 1 / 3)):
            rows += cell(stage, "spark sql", size, [size * spark * n for n in (0.96, 1.0, 1.04)], shuffles=shuffles)
            rows += cell(stage, "ray usual", size, [size * ray * share] * 3, shuffles=shuffles)
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
        return Said(code, told.out, told.err)

    return run


def test_the_answer_has_the_engine_its_time_and_how_far_to_trust_it(store: Store, advise: Callable[..., Said]) -> None:
    rows = timings(spark=0.1, ray=0.2)
    rows += [row for size in (10.0, 100.0) for row in cell("deduplicate", "polars usual", size, [size / 100] * 3)]
    rows.append(measurement("deduplicate", "spark mllib", 10.0, None, status="timeout"))
    found = publish(store, rows, FACTS.model_copy(update={"first_look": True}))
    said = advise("50MB", "deduplicate")
    assert said.code == 0, said.err
    assert said.out.startswith("deduplicate on 50 MB of text: Spark. It is expected to take 5.0 s [4.8 to 5.2] with")
    assert "; Ray 10 s [10 to 10] (ray usual)." in said.out
    assert "Neither is needed: Polars takes 0.5 s" in said.out
    assert "Without a time: spark mllib: timeout at 10 MB." in said.out
    assert "spark sql     5.0      4.8 to 5.2" in said.out
    assert f"From {found.id}, {found.manifest.created:%Y-%m-%d}, Processor a CPU, Cores 2; a first look" in said.out
    told = {line.split("  ")[0]: line for line in said.out.partition("Slower than the fastest")[2].splitlines()}
    assert told["always ray"].split()[2:] == ["50%", "/", "100%", "/", "100%"]
    assert "not validated on the largest size: too few sizes or stages" in said.out


def test_of_a_stage_at_a_size_the_newest_comparison_counts(store: Store, advise: Callable[..., Said]) -> None:
    assert known(store) is None
    publish(store, timings(spark=0.1, ray=0.2)[:-1])
    last = publish(store, timings(spark=0.4, ray=0.2))
    found = known(store)
    assert found is not None
    assert [one.id for one in found.artifacts] == [last.id], "the one before has nothing that this one has not"
    said = advise("100", "deduplicate").out
    assert said.startswith("deduplicate on 100 MB of text: Ray.")
    assert "another run" in said, "the comparison before the last one is what the advice is checked on"


def test_comparisons_of_the_same_machine_add_their_sizes(store: Store, advise: Callable[..., Said]) -> None:
    small = publish(store, timings(spark=0.1, ray=0.2))
    rows = cell("deduplicate", "spark sql", 1000.0, [30.0] * 3) + cell("deduplicate", "ray usual", 1000.0, [25.0] * 3)
    large = publish(store, rows)
    said = advise("1GB", "deduplicate").out
    assert said.startswith("deduplicate on 1000 MB of text: Ray. It is expected to take 25 s")
    assert f"From {large.id}" in said
    assert f"From {small.id}" in said
    assert "the largest size" in said.partition("Slower than the fastest")[2], "three sizes: the last can be kept back"
    assert advise("100", "deduplicate").out.startswith("deduplicate on 100 MB of text: Spark.")


@pytest.mark.parametrize(
    "other", [{"Processor": "another CPU", "Cores": "2"}, {"Processor": "a CPU", "Cores": "64"}], ids=["CPU", "cores"]
)
def test_another_machine_s_figures_are_left_alone(store: Store, other: dict[str, str]) -> None:
    publish(store, timings(spark=0.1, ray=0.2), FACTS.model_copy(update={"machine": other}))
    mine = publish(store, timings(spark=0.4, ray=0.2)[:-1])
    found = known(store)
    assert found is not None
    assert [one.id for one in found.artifacts] == [mine.id]
    assert not found.superseded


def test_the_plan_gets_one_line_with_a_word_on_each_stage(store: Store) -> None:
    assert one_line(store, 20.0) is None
    made = publish(store, timings(spark=0.1, ray=0.2))
    day = f"{made.manifest.created:%Y-%m-%d}"
    assert one_line(store, 20.0) == f"engines, as measured on {day}: Ray for clean; Spark for deduplicate (make advise)"
    refused = one_line(store, 20_000.0)
    assert refused is not None
    assert refused.startswith("engines: no advice (20000 MB is more than 10 times beyond what was measured")
    assert "\n" not in refused


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("50", "dedup"), "the comparison has no stage 'dedup'. Did you mean 'deduplicate'?"),
        (("many", "deduplicate"), "'many' is no size. Remedy:"),
        (("2GB", "deduplicate"), "2000 MB is more than 10 times beyond what was measured (10 to 100 MB). Remedy:"),
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
