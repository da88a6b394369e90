"""What the tests share that run the stage as a process of its own."""

import json
from pathlib import Path

import pytest

from handoff.run_dir import RunDir
from tests.etl.corpus_run import prose


@pytest.fixture
def pending_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run over 3 MB of records, not yet begun."""
    monkeypatch.setenv("BATON_HOME", str(tmp_path / "home"))
    for part in range(4):
        records = (json.dumps({"text": prose(number)}) for number in range(part, 2000, 4))
        (tmp_path / f"{part}.jsonl").write_text("\n".join(records))
    run = RunDir(str(tmp_path / "run"))
    run.create(str(tmp_path / "artifacts"), {"corpus": {"source": {"uri": f"{tmp_path}/*.jsonl"}}})
    return run
