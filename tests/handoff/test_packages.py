"""Pinned packages as input: only the right bytes are used, and an archive cannot write outside of its directory."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from handoff.errors import ConfigError, EngineUnavailable, SourceError
from handoff.packages import download_package, extract_members


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """A wheel in a directory that pip's own settings name, as a user's mirror would be; and its SHA-256."""
    links = tmp_path / "links"
    links.mkdir()
    file = links / "verses-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("verses/a.txt", "Shall I compare thee")
        archive.writestr("verses/deep/b.txt", "to a summer's day?")
        archive.writestr("verses/index.txt", "not a text")
        archive.writestr("verses-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: verses\nVersion: 1.0\n")
        archive.writestr("verses-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("verses-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    return file, hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_package_is_fetched_through_pips_settings_and_then_from_the_cache(
    wheel: tuple[Path, str], tmp_path: Path
) -> None:
    file, digest = wheel
    cached = download_package("verses==1.0", digest, tmp_path / "cache")
    assert cached.read_bytes() == file.read_bytes()
    file.unlink()  # now only the cache has it
    assert download_package("verses==1.0", digest, tmp_path / "cache") == cached


def test_a_damaged_cached_file_is_fetched_again(wheel: tuple[Path, str], tmp_path: Path) -> None:
    file, digest = wheel
    cached = download_package("verses==1.0", digest, tmp_path / "cache")
    cached.write_bytes(file.read_bytes()[:-10])
    assert download_package("verses==1.0", digest, tmp_path / "cache").read_bytes() == file.read_bytes()


def test_a_wrong_sha256_names_both_digests_and_leaves_no_file(wheel: tuple[Path, str], tmp_path: Path) -> None:
    _, digest = wheel
    with pytest.raises(SourceError) as raised:
        download_package("verses==1.0", "0" * 64, tmp_path / "cache")
    assert digest in str(raised.value) and "0" * 64 in str(raised.value) and "Remedy" in str(raised.value)
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def test_an_index_that_does_not_answer_may_be_asked_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "INDEX_URL": "http://127.0.0.1:9/simple",
        "RETRIES": "1",
        "FIND_LINKS": "",
        "NO_INDEX": "0",
    }.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(EngineUnavailable, match=r"verses==1\.0 .* does not answer .*Remedy: check network"):
        download_package("verses==1.0", "0" * 64, tmp_path / "cache")


def test_an_unknown_version_is_named(wheel: tuple[Path, str], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"verses==2\.0"):
        download_package("verses==2.0", "0" * 64, tmp_path / "cache")


@pytest.mark.parametrize("spec", ["verses", "verses>=1.0", "-r==1", "verses==1.0 --index-url=http://x"])
def test_only_a_pinned_name_reaches_pip(spec: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="NAME==VERSION"):
        download_package(spec, "0" * 64, tmp_path)


def test_members_are_matched_on_the_whole_path_and_excluded_by_name(wheel: tuple[Path, str], tmp_path: Path) -> None:
    files = extract_members(wheel[0], "verses/*.txt", ["index.txt"], tmp_path / "out")
    assert [str(f.relative_to(tmp_path / "out")) for f in files] == ["verses/a.txt", "verses/deep/b.txt"]
    assert files[0].read_text() == "Shall I compare thee"


def test_no_matching_member_is_an_error_that_shows_some(wheel: tuple[Path, str], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none of the 6 members .*verses/a\.txt"):
        extract_members(wheel[0], "*.csv", [], tmp_path / "out")


@pytest.mark.parametrize("name", ["../escaped.txt", "/tmp/escaped.txt", "a/../../escaped.txt"])
def test_a_member_that_would_leave_the_directory_is_refused(name: str, tmp_path: Path) -> None:
    archive = tmp_path / "evil.tar.gz"
    with tarfile.open(archive, "w:gz") as tarred:
        member = tarfile.TarInfo(name)
        member.size = 4
        tarred.addfile(member, io.BytesIO(b"evil"))
    with pytest.raises(SourceError, match="outside"):
        extract_members(archive, "*", [], tmp_path / "out")
    assert not list(tmp_path.rglob("escaped.txt"))


def test_a_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "link.tar.gz"
    with tarfile.open(archive, "w:gz") as tarred:
        member = tarfile.TarInfo("texts/passwd.txt")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tarred.addfile(member)
    with pytest.raises(SourceError, match="not a regular file"):
        extract_members(archive, "*.txt", [], tmp_path / "out")


def test_a_truncated_archive_is_named(tmp_path: Path) -> None:
    archive = tmp_path / "cut.tar.gz"
    with tarfile.open(archive, "w:gz") as tarred:
        member = tarfile.TarInfo("a.txt")
        member.size = 200_000
        tarred.addfile(member, io.BytesIO(hashlib.sha256(b"x").digest() * 6250))
    archive.write_bytes(archive.read_bytes()[:150])
    with pytest.raises(SourceError, match=r"cut\.tar\.gz is damaged"):
        extract_members(archive, "*.txt", [], tmp_path / "out")
