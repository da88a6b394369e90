"""Find or make, in one place: the same work is done once, and other code makes another artifact."""

import ast
import logging
from pathlib import Path

import pytest

from handoff import publish
from handoff.artifact import Artifact
from handoff.errors import ArtifactError
from handoff.manifest import MANIFEST_NAME, Producer, artifact_dir
from handoff.publish import Obtained, Staging, obtain, versioned
from handoff.store import Store

ROOT = Path(__file__).resolve().parents[2]


def made(place: Staging) -> Artifact:
    place.store.write(f"{place.path}/a.txt", b"some words")
    return place.publish()


def refuse(place: Staging) -> Artifact:
    raise AssertionError("it was to be found")


def test_the_same_work_is_done_once(store: Store) -> None:
    first = obtain(store, "prompts", 1, {"a": 1}, [], made)
    assert first.reused is False and first.artifact.manifest.config == {"code_version": 1, "a": 1}
    assert obtain(store, "prompts", 1, {"a": 1}, [], refuse) == Obtained(first.artifact, True)
    others = [
        obtain(store, "prompts", 2, {"a": 1}, [], made),
        obtain(store, "prompts", 1, {"a": 2}, [], made),
        obtain(store, "prompts", 1, {"a": 1}, [first.artifact], made),
    ]
    assert len({other.artifact.id for other in (first, *others)}) == 4


def test_an_id_of_code_without_a_version_stays_as_it_is() -> None:
    assert versioned(0, {"a": 1}) == {"a": 1}


def test_a_failure_leaves_nothing(store: Store) -> None:
    def broken(place: Staging) -> Artifact:
        place.store.write(f"{place.path}/a.txt", b"some")
        raise ValueError("out of words")

    with pytest.raises(ValueError, match="out of words"):
        obtain(store, "prompts", 1, {}, [], broken)
    assert list(store.files("prompts")) == []


def test_what_is_published_must_be_whole(store: Store) -> None:
    artifact = obtain(store, "prompts", 1, {}, [], made).artifact
    store.delete(f"{artifact_dir(artifact.id)}/{artifact.manifest.data}")
    assert store.exists(f"{artifact_dir(artifact.id)}/{MANIFEST_NAME}")
    with pytest.raises(ArtifactError, match=r"a\.txt"):
        obtain(store, "prompts", 1, {}, [], refuse)


def test_the_log_tells_of_an_artifact_of_another_commit(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(publish, "current_producer", lambda: Producer(commit="abc", versions={}, platform="x"))
    artifact = obtain(store, "prompts", 3, {}, [], made).artifact
    obtain(store, "prompts", 3, {}, [], refuse)
    assert caplog.messages == [f"{artifact.id} is already published: reused"]
    monkeypatch.setattr(publish, "current_producer", lambda: Producer(commit="def", versions={}, platform="x"))
    obtain(store, "prompts", 3, {}, [], refuse)
    assert caplog.messages[-1].strip() == "it was made by commit abc, this is def; both are version 3 of its code"


# Those that cannot: signatures are published at the end of a block that makes the corpus, a comparison times each step.
BESIDE_OBTAIN = {"etl/dedup/signatures.py", "comparison/chain/relay.py"}


def test_every_stage_finds_or_makes_through_it() -> None:
    """``find`` and ``staging`` by themselves take no version of the code, which a new stage would then forget."""
    users = set()
    for package in ("etl", "training", "evaluation", "inference", "comparison"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and "staging" in {alias.name for alias in node.names}:
                    users.add(str(path.relative_to(ROOT)))
    assert users == BESIDE_OBTAIN, "Remedy: handoff.publish.obtain(store, kind, version, config, parents, make)"
