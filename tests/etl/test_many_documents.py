"""Documents by the million, one line each: what the driver keeps of each must stay small, for its heap is fixed."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from bench.etl_scale import Peaks
from etl.config import CorpusConfig
from handoff.artifact import open_artifact
from handoff.run_dir import RunDir
from handoff.schema import CORPUS
from tests.etl.corpus_run import NO_HELD_OUT

pytestmark = [pytest.mark.faults, pytest.mark.timeout(2400)]
DOCUMENTS = 5_000_000  # 280 s on two busy cores, JVM 2,545 MiB; a million took 86 s and 2,250 MiB
FILES = 16
WORDS = 24
HEAP_BYTES = 2 << 30  # of the embedded Spark's JVM, `spark.driver.memory` in etl/spark_conf.py
BESIDE_HEAP_BYTES = 1 << 30  # code, classes, threads and buffers of the JVM


def lines(directory: Path) -> str:
    """JSON lines with a document of 24 words (some 120 bytes), unlike any other, below ``directory``; their pattern."""
    directory.mkdir()
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    words, draw = [a + b for a in syllables for b in syllables], random.Random(0)
    for number in range(FILES):
        with (directory / f"{number:02d}.jsonl").open("w") as file:
            for document in range(number, DOCUMENTS, FILES):
                file.write(
                    json.dumps({"id": str(document), "text": " ".join(draw.choices(words, k=WORDS)) + "."}) + "\n"
                )
    return f"{directory}/*.jsonl"


def test_documents_of_one_line_each(tmp_path: Path) -> None:
    source = {"uri": lines(tmp_path / "raw"), "id_column": "id"}
    corpus = CorpusConfig.model_validate({"source": source, "split": NO_HELD_OUT}).model_dump(mode="json")
    run = RunDir(str(tmp_path / "run"))
    run.create(str(tmp_path / "artifacts"), {"corpus": corpus})
    with Peaks() as peaks:
        ended = subprocess.run([sys.executable, "-m", "etl.job", run.uri], capture_output=True, text=True, timeout=2100)
    print(ended.stdout, {kind: f"{peak / 2**20:.0f} MiB" for kind, peak in peaks.bytes.items()})
    assert ended.returncode == 0, ended.stdout
    record = run.record("corpus")
    assert record and record.artifact
    manifest = open_artifact(run.store, record.artifact, schema=CORPUS).manifest
    assert manifest.facts["documents"] == DOCUMENTS
    assert sum(manifest.rows.values()) + sum(manifest.dropped.values()) == manifest.facts["passages"]
    assert peaks.bytes["JVM"] < HEAP_BYTES + BESIDE_HEAP_BYTES
