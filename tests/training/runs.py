"""Runs of the train stage in this process, as its job runs it."""

from handoff.artifact import Artifact, open_artifact
from handoff.run_dir import RunDir, StageRecord
from training.job import train
from training.recipe import DEFAULT_RECIPE, Recipe


def run_train(run: RunDir, recipe: Recipe = DEFAULT_RECIPE) -> StageRecord:
    with run.stage("train") as record:
        train(run, record, recipe)
    return record


def trained(run: RunDir, recipe: Recipe = DEFAULT_RECIPE) -> Artifact:
    record = run_train(run, recipe)
    assert record.artifact and not record.reused
    return open_artifact(run.store, record.artifact, digests=True)
