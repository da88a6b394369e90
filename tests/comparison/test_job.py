"""The job and its report, end to end on the toy stage: what is published can be read, fitted and shown again."""

import sys
from pathlib import Path
from typing import Any

import pytest

from comparison import job, report
from comparison.config import ComparisonConfig
from comparison.measure.needs import RAY_THRESHOLD, require_disk
from comparison.results import read_results
from handoff.errors import EXIT_USER_ERROR, ConfigError
from handoff.facts import ComparisonFacts, facts_of
from handoff.run_dir import RunDir
from handoff.stages import flow
from tests.comparison import toy_stage
from tests.comparison.test_runner import only, toy

__all__ = ["toy"]


def new_run(place: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> RunDir:
    monkeypatch.setenv("BATON_HOME", str(place / "home"))
    config = ComparisonConfig(
        **{"stages": ("clean",), "sizes_mb": (0.2,), "processes": 1, "warm_runs": 1, "engines": ("polars", "python")}
        | settings
    )
    run = RunDir(str(place / "runs" / "one"))
    run.create(str(place / "artifacts"), {"comparison": config.model_dump(mode="json")}, flow("comparison"))
    return run


def test_what_is_measured_is_published_shown_and_found_again(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    only(monkeypatch, "good", "wrong")
    run = new_run(toy, monkeypatch)
    assert job.main([run.uri]) == 0 and report.main([run.uri]) == 0
    artifact = run.artifact("compare", digests=True)
    facts = facts_of(artifact.manifest, ComparisonFacts)
    found = read_results(artifact)
    assert facts.first_look and not facts.partial and facts.measurements == len(found) == 9
    assert {m.status for m in found if m.variant == "wrong" and m.phase != "start"} == {"unequal"}
    page = run.read("report.html").decode()
    assert "A toy" in page and "unequal" in page.lower()
    assert list((toy / "home" / "comparison" / "runs").iterdir()) == [], "the scratch of the run is left"
    capfd.readouterr()
    assert job.main([run.uri]) == 0 and "clean 0.2 MB" not in capfd.readouterr().out, "a published run measures anew"


def test_a_source_with_too_little_text_is_refused_before_anything_is_measured(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (toy / "one.txt").write_text("To be, or not to be. " * 100)
    run = new_run(toy, monkeypatch, source={"uri": str(toy / "one.txt")})
    assert job.main([run.uri]) == EXIT_USER_ERROR
    assert "has 0.0 MB of text, 0.2 MB were asked for" in capfd.readouterr().out
    assert report.main([run.uri]) == 0 and "were asked for" in run.read("report.html").decode()


def test_raw_files_of_ones_own_are_measured(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "good")
    for number in range(5):
        (toy / f"{number}.txt").write_text(f"{number} To be, or not to be: that is the question. " * 1200)
    run = new_run(toy, monkeypatch, source={"uri": str(toy / "*.txt")})
    assert job.main([run.uri]) == 0
    assert {m.rows for m in read_results(run.artifact("compare")) if m.phase == "warm"} == {4}


def test_what_does_not_fit_on_the_disk_is_refused(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run = new_run(toy, monkeypatch, sizes_mb=(900_000,))
    assert job.main([run.uri]) == EXIT_USER_ERROR
    assert "GB of disk" in capfd.readouterr().out and not (toy / "home" / "comparison" / "tables").exists()


def test_a_disk_that_ray_takes_for_full_is_told_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = ComparisonConfig(sizes_mb=(1000,))
    monkeypatch.setenv(RAY_THRESHOLD, "0.999999")
    require_disk(large, tmp_path)
    monkeypatch.setenv(RAY_THRESHOLD, "0.000001")
    with pytest.raises(ConfigError, match=r"1000 MB of text need 2\.0 GB\. Remedy: free space, raise RAY_local_fs"):
        require_disk(large, tmp_path)
    require_disk(large.model_copy(update={"engines": ("spark",)}), tmp_path)
    require_disk(ComparisonConfig(sizes_mb=(10,)), tmp_path)  # stays in memory


def test_an_engine_that_is_not_installed_is_named(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "polars" else sys)
    run = new_run(toy, monkeypatch, engines=("polars",))
    assert job.main([run.uri]) == EXIT_USER_ERROR
    assert "polars needs polars: not installed here" in capfd.readouterr().out


def test_a_budget_that_ends_at_once_says_so(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run = new_run(toy, monkeypatch, budget_minutes=1e-6)
    assert job.main([run.uri]) == EXIT_USER_ERROR
    assert "ended before the first result" in capfd.readouterr().out
    assert toy_stage.STAGE.forms
