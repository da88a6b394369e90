"""Checkpoints wait on this disk for their upload, one a worker; what stays for ever is told."""

import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from handoff.artifact import open_artifact
from training.checkpoints.scratch import Scratch
from training.job import train

SCRATCH = Path(tempfile.gettempdir())


def test_an_upload_that_does_not_end_is_told_with_the_remedy(tmp_path: Path) -> None:
    scratch = Scratch(str(tmp_path), 0.2)
    first = scratch.directory()
    with pytest.raises(TimeoutError, match=r"upload has not ended 0.2 s .* training.hang_seconds"):
        scratch.directory()
    first.rmdir()
    second = scratch.directory()
    scratch.remove()
    assert second.is_dir(), "another worker may still need it"
    scratch.clear()
    assert not scratch.root.exists()


@pytest.mark.faults
def test_no_more_checkpoints_wait_for_their_upload_than_one_a_worker(ray_cluster: None, make_run: Any) -> None:
    """Steps of 50 ms with a checkpoint each: uploads are slower, since Ray Train takes a report every two seconds."""
    steps, most, ended = 7, 0, threading.Event()
    run = make_run("hasty", max_steps=steps, checkpoint_every_steps=1)
    before = set(SCRATCH.glob("baton-checkpoints-*/*"))

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.02):
            most = max(most, len(set(SCRATCH.glob("baton-checkpoints-*/*")) - before))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with run.stage("train") as record:
            train(run, record)
    finally:
        ended.set()
        watcher.join()
    assert len(open_artifact(run.store, record.artifact).manifest.facts["steps"]) == steps and 1 <= most <= 2, (
        "one of each of two workers"
    )
