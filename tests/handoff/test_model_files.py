"""Weights are loaded from a local directory, wherever the artifact's files lie."""

from pathlib import Path

import pytest

from handoff.artifact import Artifact
from handoff.errors import ArtifactError
from handoff.model_files import model_directory
from handoff.publish import describe_in_place, staging
from handoff.store import Store, resolve


def publish_model(store: Store) -> Artifact:
    with staging(store, "model", {"of": "test"}, []) as place:
        for name in ("config.json", "adapter/weights.bin"):
            with store.fs.open_output_stream(_full(store, place.uri(name), name)) as stream:
                stream.write(name.encode())
        return place.publish()


def _full(store: Store, uri: str, name: str) -> str:
    filesystem, full = resolve(uri)
    filesystem.create_dir(full.rsplit("/", 1)[0], recursive=True)
    return full


def test_a_local_model_is_used_where_it_lies(store: Store) -> None:
    model = publish_model(store)
    assert model_directory(model) == model.data
    assert (Path(model_directory(model)) / "adapter" / "weights.bin").read_text() == "adapter/weights.bin"


def test_files_used_in_place_give_their_common_directory(store: Store, tmp_path: Path) -> None:
    home = tmp_path / "elsewhere"
    for name in ("config.json", "tokenizer/vocab.json"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("{}")
    with staging(store, "model", {"of": "in place"}, []) as place:
        files = [describe_in_place(str(home / n)) for n in ("config.json", "tokenizer/vocab.json")]
        model = place.publish(in_place=files)
    assert model_directory(model) == str(home)


def test_a_remote_model_is_downloaded_once_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATON_HOME", str(tmp_path))
    store = Store("memory://baton-test-models")
    model = publish_model(store)
    first = model_directory(model)
    assert Path(first).is_relative_to(tmp_path / "cache")
    assert (Path(first) / "adapter" / "weights.bin").read_text() == "adapter/weights.bin"

    store.delete(f"model/{model.id}/{model.manifest.data}")
    assert model_directory(model) == first  # from the cache: the store has no such files any more

    monkeypatch.setenv("BATON_HOME", str(tmp_path / "second"))
    store.write(f"model/{model.id}/{model.manifest.data}/config.json", b"damaged")
    store.write(f"model/{model.id}/{model.manifest.data}/adapter/weights.bin", b"adapter/weights.bin")
    with pytest.raises(ArtifactError, match=r"config\.json arrived with another SHA-256"):
        model_directory(model)
    assert not list((tmp_path / "second" / "cache").iterdir())


def test_only_a_model_has_a_model_directory(tiny_corpus: Artifact) -> None:
    with pytest.raises(ArtifactError, match="this is not a model"):
        model_directory(tiny_corpus)
