"""The train stage from snapshot to published model, on real Ray and DeepSpeed."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from handoff.artifact import Artifact, open_artifact
from handoff.run_dir import RunDir, StageRecord
from training.job import train


def run_train(run: RunDir) -> StageRecord:
    with run.stage("train") as record:
        train(run, record)
    return record


def test_zero3_on_two_workers_publishes_a_model(ray_cluster: None, make_run: Callable[..., RunDir], tiny_corpus: Artifact) -> None:
    run = make_run("zero3")
    record = run_train(run)
    model = open_artifact(run.store, record.artifact, digests=True)
    facts = model.manifest.facts
    print(json.dumps(facts, indent=1), record.phases)
    assert 0
