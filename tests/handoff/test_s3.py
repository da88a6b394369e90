"""A store that cannot be reached: a request waits for it, and the error of one that is gone names it."""

import pickle
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.fs as pafs
import pytest
from moto.server import ThreadedMotoServer

from handoff import s3
from handoff.causes import cause_of
from handoff.publish import staging
from handoff.run_dir import RunDir
from handoff.store import Store, resolve
from orchestration.ports import any_free_port

AWAY_SECONDS = 9  # pyarrow's own patience is 6


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a store that is not there."""
    place = f"http://127.0.0.1:{any_free_port()}"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", place)
    yield place


def test_a_sent_filesystem_keeps_its_patience_and_no_key(address: str) -> None:
    filesystem, path = resolve("s3://bucket/x")
    assert path == "bucket/x"
    sent = pickle.dumps(filesystem)
    assert isinstance(pickle.loads(sent), s3.PatientS3)
    assert b"AWS_" not in sent and b"test" not in sent


def test_a_store_that_is_gone(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "ATTEMPTS", 2)
    with pytest.raises(OSError) as gone:
        Store("s3://bucket/artifacts").exists("corpus")
    cause = cause_of(gone.value)
    assert cause.kind == "outside" and cause.retry_helps and cause.store_is_gone
    assert f"Remedy: see that the store at {address} runs" in cause.sentence


def test_nothing_more_is_asked_of_a_store_that_is_gone(tmp_path: Path) -> None:
    """Each further request would wait for it again, and the attempt's error come minutes later."""
    gone = OSError("When uploading part: AWS Error NETWORK_CONNECTION during UploadPart operation: curlCode: 28")
    store, run = Store(str(tmp_path / "store")), RunDir(str(tmp_path / "run"))
    with pytest.raises(OSError, match="UploadPart"), run.stage("train"), staging(store, "model", {}, []) as place:
        store.write(f"{place.path}/x", b"data")
        raise gone
    assert store.exists(f"{place.path}/x"), "left for whoever publishes this id"
    assert (record := run.record("train")) and record.status == "running"


@pytest.mark.faults
def test_a_store_that_is_away_for_a_while(address: str) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=int(address.rsplit(":", 1)[1]))
    store = Store("s3://bucket/artifacts")
    come = threading.Timer(AWAY_SECONDS, server.start)
    begun = time.monotonic()
    come.start()
    try:
        bucket = pickle.loads(pickle.dumps(s3.PatientS3(endpoint_override=address, allow_bucket_creation=True)))
        bucket.create_dir("bucket")
        assert time.monotonic() - begun >= AWAY_SECONDS - 1, "it was away"
        store.write("a", b"data")
        assert store.read("a") == b"data"
    finally:
        come.join()
        server.stop()


def test_other_filesystems_stay_as_they_are() -> None:
    local = pafs.LocalFileSystem()
    assert s3.patient(local) is local
