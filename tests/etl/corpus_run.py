"""Running the stage's body in the test's process, on the Spark that the tests share, and reading what it published."""

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from etl.job import run_corpus
from handoff.artifact import Artifact, open_artifact
from handoff.manifest import now
from handoff.run_dir import RunDir, StageRecord
from handoff.schema import CORPUS
from tests.support import VERSES

NO_HELD_OUT = {"validation_fraction": 0, "test_fraction": 0}


def prose(number: int) -> str:
    """A text of about 1,500 characters in paragraphs, unlike that of any other number."""
    words, draw = " ".join(VERSES).split(), random.Random(number)
    return "\n\n".join(f"{number}.{i} {' '.join(draw.choices(words, k=27))}" for i in range(9))


def planned(tmp_path: Path, uri: str, *, source: dict[str, Any] | None = None, **corpus: Any) -> RunDir:
    """The directory of a run that is still to be made."""
    directory = RunDir(str(tmp_path / "run"))
    config = {"source": {"uri": uri, **(source or {})}, "passage_chars": 500, **corpus}
    directory.create(str(tmp_path / "artifacts"), {"corpus": config})
    return directory


def run(tmp_path: Path, uri: str, *, source: dict[str, Any] | None = None, **corpus: Any) -> tuple[StageRecord, RunDir]:
    """Run the stage's body."""
    directory = planned(tmp_path, uri, source=source, **corpus)
    record = StageRecord(stage="corpus", started=now())
    run_corpus(directory, record)
    return record, directory


def snapshot(record: StageRecord, directory: RunDir) -> Artifact:
    assert record.artifact
    return open_artifact(directory.store, record.artifact, schema=CORPUS, digests=True)


def rows(artifact: Artifact, split: str | None = None) -> list[dict[str, Any]]:
    return pa.concat_tables(pq.read_table(f) for f in artifact.files(split) if f.endswith(".parquet")).to_pylist()


def nothing_published(tmp_path: Path) -> bool:
    return not list((tmp_path / "artifacts").glob("corpus/*/*"))


def ended(module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a module as a process of its own to its end."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300)
