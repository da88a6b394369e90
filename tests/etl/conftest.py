"""What the tests of the corpus stage share: a home each, and a run for those that start the stage as a process."""

import json
from pathlib import Path

import pytest

from handoff.run_dir import RunDir
from tests.etl.corpus_run import prose


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of its own for each test."""
    monkeypatch.setenv("BATON_HOME", str(tmp_path / "home"))


@pytest.fixture
def pending_run(home: None, tmp_path: Path) -> RunDir:
    """A run over 3 MB of records, not yet begun."""
    for part in range(4):
        records = (json.dumps({"text": prose(number)}) for number in range(part, 2000, 4))
        (tmp_path / f"{part}.jsonl").write_text("\n".join(records))
    run = RunDir(str(tmp_path / "run"))
    run.create(str(tmp_path / "artifacts"), {"corpus": {"source": {"uri": f"{tmp_path}/*.jsonl"}}})
    return run
