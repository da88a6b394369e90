"""The store behaves the same on a local disk, on any fsspec filesystem, and on an object store."""

import os
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from handoff import schema
from handoff.artifact import open_artifact
from handoff.errors import ConfigError
from handoff.publish import find, staging
from handoff.store import Store, resolve
from handoff.verify import locate, verify_chain


@pytest.fixture(params=["local", "memory", "s3"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    name = request.node.name.replace("[", "-").replace("]", "")
    if request.param == "local":
        return Store(str(tmp_path))
    if request.param == "memory":
        return Store(f"memory://{name}")
    return Store(f"{request.getfixturevalue('object_store')}/{name}")


def test_create_takes_a_name_once(any_store: Store) -> None:
    assert any_store.create("a/b/c", b"first")
    assert not any_store.create("a/b/c", b"second")
    assert any_store.read("a/b/c") == b"first"
    any_store.write("a/b/c", b"third")
    assert (any_store.read("a/b/c"), any_store.size("a/b/c")) == (b"third", 5)


def test_listing_and_deleting(any_store: Store) -> None:
    for name in ("x/1", "x/y/2", "z/3"):
        any_store.write(name, b"data")
    assert list(any_store.files("x")) == ["x/1", "x/y/2"]
    assert list(any_store.files("nowhere")) == []
    any_store.delete("x")
    any_store.delete("nowhere")
    assert not any_store.exists("x/1") and any_store.exists("z/3")
    assert any_store.size("x/1") is None


def test_missing_file_is_file_not_found(any_store: Store) -> None:
    with pytest.raises(FileNotFoundError):
        any_store.read("not/there")


def test_digest(any_store: Store) -> None:
    any_store.write("f", b"abc")
    assert any_store.sha256("f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_publish_open_and_verify(any_store: Store) -> None:
    rows = pa.table({"row_id": ["a"], "doc_id": ["d"], "position": pa.array([0], pa.int32()), "text": ["t"]})
    with staging(any_store, "corpus", {"n": 1}, []) as place:
        filesystem, path = any_store.locate(f"{place.path}/train/part-0.parquet")
        filesystem.create_dir(path.rsplit("/", 1)[0], recursive=True)
        pq.write_table(rows.cast(schema.CORPUS), path, filesystem=filesystem)
        made = place.publish(schema=schema.CORPUS, rows={"train": 1})
    assert find(any_store, "corpus", {"n": 1}, []).id == made.id  # type: ignore[union-attr]
    assert open_artifact(any_store, made.id, digests=True, schema=schema.CORPUS).manifest.rows == {"train": 1}
    assert [link.problems for link in verify_chain(any_store, made.id)] == [[]]


def test_a_place_in_a_store_is_a_uri_that_finds_it(any_store: Store) -> None:
    any_store.write("a/b", b"data")
    filesystem, path = resolve(any_store.uri("a/b"))
    assert filesystem.open_input_stream(path).read() == b"data"


def test_a_root_with_options_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"s3://bucket/baton\?region=x: .* Remedy: .*AWS_ENDPOINT_URL"):
        Store("s3://bucket/baton?region=x")


def test_verify_finds_the_store_of_a_directory(store: Store) -> None:
    found, identity = locate(f"{store.root}/corpus/corpus-0123456789abcdef/")
    assert (found.root, identity) == (store.root, "corpus-0123456789abcdef")


def test_readers_never_see_a_part(store: Store) -> None:
    """A file that is replaced again and again is always one of its whole versions."""
    versions = [bytes([n]) * 200_000 for n in range(20)]
    store.write("f", versions[0])
    torn: list[int] = []
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            data = store.read("f")
            if data not in versions:
                torn.append(len(data))

    reader = threading.Thread(target=read)
    reader.start()
    for version in versions:
        store.write("f", version)
    ended.set()
    reader.join()
    assert torn == []
    assert os.listdir(store.root) == ["f"]
