"""Verification walks the chain back to raw and names the fault, whatever it is."""

import json
from pathlib import Path

import pytest

from handoff import schema
from handoff.artifact import Artifact, open_artifact
from handoff.errors import ArtifactError
from handoff.manifest import MANIFEST_NAME, Manifest
from handoff.verify import main
from tests.support import VERSES


def verify(artifact: Artifact, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = main([artifact.directory])
    return code, capsys.readouterr().out


def test_a_whole_chain(tiny_corpus: Artifact, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = verify(tiny_corpus, capsys)
    assert code == 0 and "2 artifacts, all whole" in out
    assert tiny_corpus.id in out and tiny_corpus.manifest.parents[0].id in out


def test_every_single_changed_file_is_named(tiny_corpus: Artifact, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (Path(p) for p in tiny_corpus.files()):
        data = bytearray(path.read_bytes())
        data[len(data) // 3] ^= 1
        original = path.read_bytes()
        path.write_bytes(data)
        code, out = verify(tiny_corpus, capsys)
        assert code == 1 and path.name in out and "FAULT" in out
        path.write_bytes(original)
    assert verify(tiny_corpus, capsys)[0] == 0


def test_changed_raw_input_is_named(tiny_corpus: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = tmp_path / "verses.txt"
    raw.write_text(raw.read_text().replace(VERSES[0][:5], "SHALL"))
    code, out = verify(tiny_corpus, capsys)
    assert code == 1 and "verses.txt was changed" in out and out.count("FAULT") == 1


def test_removed_file_is_named(tiny_corpus: Artifact, capsys: pytest.CaptureFixture[str]) -> None:
    Path(tiny_corpus.files("test")[0]).unlink()
    code, out = verify(tiny_corpus, capsys)
    assert code == 1 and "test/part-00000.parquet is missing" in out


def test_removed_parent_is_named(tiny_corpus: Artifact, capsys: pytest.CaptureFixture[str]) -> None:
    raw = open_artifact(tiny_corpus.store, tiny_corpus.manifest.parents[0].id)
    Path(raw.directory, MANIFEST_NAME).unlink()
    code, out = verify(tiny_corpus, capsys)
    assert code == 1 and raw.id in out and "does not exist" in out


@pytest.mark.parametrize("field", ["rows", "config", "created", "dropped", "parents", "facts"])
def test_edited_manifest_is_named(tiny_corpus: Artifact, field: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(tiny_corpus.directory, MANIFEST_NAME)
    document = json.loads(path.read_text())
    edits = {
        "rows": {"train": 1},
        "config": {},
        "created": "2020-01-01T00:00:00Z",
        "dropped": {"x": 1},
        "parents": [],
        "facts": {},
    }
    document[field] = edits[field]
    path.write_text(json.dumps(document))
    code, out = verify(tiny_corpus, capsys)
    assert code == 1 and "_MANIFEST.json was edited" in out


def test_an_edit_with_a_fresh_digest_is_caught_by_the_child(
    tiny_corpus: Artifact, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = open_artifact(tiny_corpus.store, tiny_corpus.manifest.parents[0].id)
    forged = raw.manifest.model_copy(update={"dropped": {"hidden": 1}}).sealed()
    Path(raw.directory, MANIFEST_NAME).write_text(forged.model_dump_json())
    code, out = verify(tiny_corpus, capsys)
    assert code == 1 and "not the one that its child was made from" in out


def test_an_edit_of_the_config_is_caught_by_the_id(tiny_corpus: Artifact, capsys: pytest.CaptureFixture[str]) -> None:
    forged = tiny_corpus.manifest.model_copy(update={"config": {"rows": {}}}).sealed()
    Path(tiny_corpus.directory, MANIFEST_NAME).write_text(forged.model_dump_json())
    code, out = verify(tiny_corpus, capsys)
    assert code == 1 and "its id does not follow" in out


def test_a_torn_manifest_is_named(tiny_corpus: Artifact, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(tiny_corpus.directory, MANIFEST_NAME)
    path.write_text(path.read_text()[:-20])
    code, out = verify(tiny_corpus, capsys)
    assert code == 1 and "cannot be read" in out


def test_a_path_that_is_no_artifact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "is not an artifact's directory" in capsys.readouterr().out


def test_opening_lists_every_mismatch(tiny_corpus: Artifact) -> None:
    first, second = (Path(p) for p in tiny_corpus.files("train"))
    first.unlink()
    second.write_bytes(second.read_bytes() + b"x")
    with pytest.raises(ArtifactError) as caught:
        open_artifact(tiny_corpus.store, tiny_corpus.id, schema=schema.PREDICTIONS, split="nope")
    problems = "\n".join(caught.value.problems)
    for expected in ("is missing", "bytes, the manifest says", "column 'prompt'", "split 'nope' has no rows"):
        assert expected in problems


def test_digest_survives_a_round_trip(tiny_corpus: Artifact) -> None:
    again = Manifest.model_validate_json(tiny_corpus.manifest.model_dump_json())
    assert again == tiny_corpus.manifest and again.compute_digest() == again.digest
