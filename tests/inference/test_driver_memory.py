"""The driver's memory for a million prompts is that for a thousand, within 200 MB.

What the driver holds follows ids (eight bytes each, while prompts are published) and shards. Prompts are published by
the million here. Answering them takes too long for a test, so as many shards are answered as a million prompts make.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from handoff.artifact import Artifact
from handoff.store import Store
from inference.config import InferenceConfig
from inference.shards import shard_rows
from tests.inference.support import make_run, publish_models

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]

MOST_BYTES = 200_000_000
PUBLISH = """
import resource, sys
from handoff.store import Store
from inference.config import InferenceConfig
from inference.prompts import publish_prompts
made = publish_prompts(Store(sys.argv[1]), InferenceConfig(prompts=sys.argv[2]), None)
print(made.manifest.rows["all"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def short_prompts(file: Path, rows: int) -> str:
    with file.open("w") as out:
        for n in range(rows):
            out.write(json.dumps({"id": f"p{n}", "prompt": f"Shall I compare thee to {n}"}) + "\n")
    return str(file)


def test_publishing_a_million_prompts(store: Store, tmp_path: Path) -> None:
    peaks = []
    for rows in (1_000, 1_000_000):
        uri = short_prompts(tmp_path / f"{rows}.jsonl", rows)
        told = subprocess.check_output([sys.executable, "-c", PUBLISH, store.root, uri], text=True, timeout=600)
        assert int(told.split()[0]) == rows
        peaks.append(int(told.split()[1]))
    print(f"peak of publishing 1,000 prompts {peaks[0] / 1e6:.0f} MB, 1,000,000 prompts {peaks[1] / 1e6:.0f} MB")
    assert peaks[1] - peaks[0] < MOST_BYTES


def test_answering_as_many_shards_as_a_million_prompts_make(
    store: Store, tiny_model: Path, tiny_corpus: Artifact, tmp_path: Path
) -> None:
    _, tuned = publish_models(store, tiny_model, tiny_corpus)
    million = InferenceConfig(num_actors=2)
    shards = -(-1_000_000 // shard_rows(1_000_000, million))
    peaks = []
    for rows, window in ((1_000, 512), (16 * shards, 16)):
        uri = short_prompts(tmp_path / f"{rows}.jsonl", rows)
        config = InferenceConfig(prompts=uri, baseline_prompts=0, max_new_tokens=1, num_actors=2, window_rows=window)
        run = make_run(tmp_path / f"run-{rows}", store, tuned, config)
        environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
        subprocess.run([sys.executable, "-m", "inference.job", run.uri], check=True, env=environment, timeout=900)
        record = run.record("predict")
        assert record is not None and record.metrics["prompts"] == rows
        peaks.append(record.peak_rss_bytes or 0)
    print(
        f"peak of the driver with 1,000 prompts {peaks[0] / 1e6:.0f} MB, with {shards} shards {peaks[1] / 1e6:.0f} MB"
    )
    assert peaks[0] > 0 and peaks[1] - peaks[0] < MOST_BYTES
