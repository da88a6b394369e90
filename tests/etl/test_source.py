"""Finding raw files: what a path, a glob, a directory and a package stand for, and what is said when it is nothing."""

import gzip
import hashlib
import re
import zipfile
from pathlib import Path

import pytest

from etl.config import SourceConfig
from etl.read.check import check_source
from etl.read.raw import publish_raw
from etl.read.source import resolved
from handoff.errors import SourceError
from handoff.store import Store


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """Text files in two directories, a file of another kind, and two that readers of data directories pass over."""
    root = tmp_path / "books"
    for name in ("a.txt", "b[1].txt", "sub/c.txt", "_SUCCESS", ".hidden.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"text of {name}")
    return root


def names(uri: str, tmp_path: Path, **settings: object) -> list[str]:
    with resolved(SourceConfig.model_validate({"uri": uri, **settings}), tmp_path) as source:
        assert all(Path(f.uri).stat().st_size == f.bytes for f in source.files)
        assert not {f.name for f in source.files} & set(source.left_out)
        return [f.name for f in source.files]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("", ["a.txt", "b[1].txt", "sub/c.txt"]),
        ("/a.txt", ["a.txt"]),
        ("/b[1].txt", ["b[1].txt"]),  # an existing file is taken literally
        ("/*.txt", ["a.txt", "b[1].txt"]),
        ("/*/*.txt", ["sub/c.txt"]),
        ("/**/*.txt", ["a.txt", "b[1].txt", "sub/c.txt"]),
        ("/[ab].txt", ["a.txt"]),
    ],
)
def test_paths_globs_and_directories(books: Path, tmp_path: Path, pattern: str, found: list[str]) -> None:
    assert names(f"{books}{pattern}", tmp_path) == found


def test_excluded_names_are_left_out(books: Path, tmp_path: Path) -> None:
    assert names(str(books), tmp_path, exclude=["b*"]) == ["a.txt", "sub/c.txt"]


def test_a_file_uri_is_as_good_as_a_path(books: Path, tmp_path: Path) -> None:
    assert names(f"file://{books}/*.txt", tmp_path) == ["a.txt", "b[1].txt"]


@pytest.mark.parametrize("uri", ["{}/nowhere/*.txt", "{}/nowhere", "relative/nowhere.txt"])
def test_no_match_is_an_error_that_names_the_setting(tmp_path: Path, uri: str) -> None:
    with pytest.raises(SourceError, match=r"matches no file\. Remedy: .*corpus\.source\.uri"):
        check_source(SourceConfig(uri=uri.format(tmp_path)), tmp_path)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("notes.docx", r"an office document.*convert it to \.txt"),
        ("a.tar.gz", "an archive.*unpack it"),
        ("a.zip", "an archive.*Remedy"),
        ("a.xml", "XML, whose elements mean what its schema says"),
        ("a.parquet.gz", r"packed twice.*unpack it to a\.parquet"),
        ("a.txt.lz4", r"packed in a way that is not read.*\.zst"),
        ("a.png", "no text"),
        ("a.unheard", r"none of \.txt, .*\.jsonl"),
    ],
)
def test_a_file_of_no_known_format_is_told_what_it_is(books: Path, tmp_path: Path, name: str, told: str) -> None:
    (books / name).write_text("x")
    with pytest.raises(SourceError, match=rf"{re.escape(name)} is {told}"):
        check_source(SourceConfig(uri=str(books)), tmp_path)


def test_mixed_formats_are_refused(books: Path, tmp_path: Path) -> None:
    (books / "d.jsonl").write_text('{"text": "x"}\n')
    with pytest.raises(SourceError, match="mixes formats"):
        check_source(SourceConfig(uri=str(books)), tmp_path)


def test_only_empty_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    with pytest.raises(SourceError, match="all 1 files are empty"):
        check_source(SourceConfig(uri=f"{tmp_path}/*.txt"), tmp_path)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SourceConfig:
    """Two texts in a wheel that pip finds by its own settings."""
    links = tmp_path / "links"
    links.mkdir()
    file = links / "verses-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("verses/texts/a.txt", "Shall I compare thee")
        archive.writestr("verses/texts/b.txt", "to a summer's day?")
        archive.writestr("verses-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: verses\nVersion: 1.0\n")
        archive.writestr("verses-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("verses-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return SourceConfig(uri="package:verses==1.0", sha256=digest, members="verses/texts/*.txt")


def test_a_packages_members_are_copied_into_the_raw_artifact(
    package: SourceConfig, tmp_path: Path, store: Store
) -> None:
    cache = tmp_path / "cache"
    assert check_source(package, cache) == [("package:verses==1.0/a.txt", 20), ("package:verses==1.0/b.txt", 18)]
    with resolved(package, cache) as found:
        raw, source = publish_raw(store, found)
    assert [Path(f.uri).read_text() for f in source.files] == ["Shall I compare thee", "to a summer's day?"]
    assert [f.name for f in source.files] == ["a.txt", "b.txt"]
    with resolved(package, cache) as found:
        assert publish_raw(store, found)[0].manifest.created == raw.manifest.created  # found, not written again


def test_a_package_with_another_sha256_is_refused(package: SourceConfig, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has sha256"):
        check_source(package.model_copy(update={"sha256": "0" * 64}), tmp_path / "cache")


def test_the_raw_artifacts_id_follows_the_bytes(books: Path, tmp_path: Path, store: Store) -> None:
    def raw_id() -> str:
        with resolved(SourceConfig(uri=f"{books}/*.txt"), tmp_path) as source:
            return publish_raw(store, source)[0].id

    first = raw_id()
    assert raw_id() == first
    (books / "a.txt").write_text("text of A.txt")
    assert raw_id() != first


def test_the_digest_of_a_compressed_file_is_of_its_bytes_as_they_lie(tmp_path: Path, store: Store) -> None:
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(b'{"text": "x"}\n'))
    with resolved(SourceConfig(uri=str(packed)), tmp_path) as source:
        raw, _ = publish_raw(store, source)
    assert raw.manifest.files[0].sha256 == hashlib.sha256(packed.read_bytes()).hexdigest()
