"""Storage behind the contract: a local directory or any URI that pyarrow or fsspec can open."""

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterator

import fsspec
import pyarrow as pa
import pyarrow.fs as pafs

from handoff.errors import ConfigError
from handoff.s3 import patient

CHUNK_BYTES = 8 << 20


def resolve(uri: str) -> tuple[pafs.FileSystem, str]:
    """The filesystem of a local path or URI, and the path within it.

    pyarrow's own filesystems come first (local, s3, gs, hdfs); every other scheme goes through fsspec.
    """
    if "://" not in uri:
        return pafs.LocalFileSystem(), os.path.abspath(uri)
    try:
        filesystem, path = pafs.FileSystem.from_uri(uri)
    except pa.ArrowInvalid:
        other, path = fsspec.core.url_to_fs(uri)
        return pafs.PyFileSystem(pafs.FSSpecHandler(other)), path
    return patient(filesystem), path


def sha256_of(filesystem: pafs.FileSystem, path: str) -> str:
    """Hex digest of a file's bytes, read in chunks of 8 MiB."""
    digest = hashlib.sha256()
    with filesystem.open_input_stream(path, compression=None) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


class Store:
    """A root under which artifacts live as ``<kind>/<id>/``; all paths below are relative to that root.

    Args:
        root: local path or URI, such as ``./var/artifacts`` or ``s3://bucket/baton``.

    Raises:
        ConfigError: the URI has options: what is joined to it would become part of the last one.
    """

    def __init__(self, root: str) -> None:
        if "://" in root and "?" in root:
            raise ConfigError(
                f"{root}: a store's URI takes no options. Remedy: leave out what follows the question mark; for S3 set "
                "AWS_ENDPOINT_URL, AWS_REGION and the other variables of the AWS SDK on every machine"
            )
        self.fs, self._base = resolve(root)
        self.is_local = isinstance(self.fs, pafs.LocalFileSystem)
        self.root = self._base if self.is_local else root.rstrip("/")

    def uri(self, path: str) -> str:
        """``path`` in the form that engines take: an absolute local path, or a URI."""
        return f"{self.root}/{path}"

    def locate(self, path: str) -> tuple[pafs.FileSystem, str]:
        """Filesystem and path of ``path``, which may also be absolute (a file outside of this store)."""
        if "://" in path or path.startswith("/"):
            return resolve(path)
        return self.fs, f"{self._base}/{path}"

    def size(self, path: str) -> int | None:
        """Bytes of a file, or None if there is no such file."""
        filesystem, full = self.locate(path)
        info = filesystem.get_file_info(full)
        return info.size if info.type == pafs.FileType.File else None

    def exists(self, path: str) -> bool:
        filesystem, full = self.locate(path)
        return filesystem.get_file_info(full).type != pafs.FileType.NotFound

    def read(self, path: str) -> bytes:
        filesystem, full = self.locate(path)
        with filesystem.open_input_stream(full, compression=None) as stream:
            return stream.read()

    def sha256(self, path: str) -> str:
        """Hex digest of a file's bytes."""
        return sha256_of(*self.locate(path))

    def files(self, directory: str) -> Iterator[str]:
        """Relative paths of all files below ``directory``, sorted; nothing if it does not exist."""
        filesystem, full = self.locate(directory)
        selector = pafs.FileSelector(full, recursive=True, allow_not_found=True)
        for info in sorted(filesystem.get_file_info(selector), key=lambda i: i.path):
            if info.type == pafs.FileType.File:
                yield info.path[len(self._base) :].lstrip("/")

    def write(self, path: str, data: bytes) -> None:
        """Write a whole file so that a reader sees the old one or the new one, never a part."""
        full = f"{self._base}/{path}"
        self.fs.create_dir(os.path.dirname(full), recursive=True)
        if not self.is_local:  # an object appears when its upload is closed
            with self.fs.open_output_stream(full, compression=None) as stream:
                stream.write(data)
            return
        with _temporary_beside(full, data) as temporary:
            os.replace(temporary, full)

    def create(self, path: str, data: bytes) -> bool:
        """Write a whole file unless one exists. Returns False, and writes nothing, if one does.

        On a local disk this is atomic (a hard link either takes the name or fails). Object stores that
        pyarrow reaches have no conditional write: two writers that race within one round trip both see True,
        and the later manifest stands; each names its own data files, so both readings are whole.
        """
        full = f"{self._base}/{path}"
        if not self.is_local:
            if self.exists(path):
                return False
            self.write(path, data)
            return True
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with _temporary_beside(full, data) as temporary:
            try:
                os.link(temporary, full)
            except FileExistsError:
                return False
        return True

    def remove(self, path: str) -> None:
        """Remove a file; no error if it does not exist."""
        with contextlib.suppress(FileNotFoundError):
            self.fs.delete_file(f"{self._base}/{path}")

    def delete(self, directory: str) -> None:
        """Remove a directory and all below it; no error if it does not exist."""
        full = f"{self._base}/{directory}"
        if self.exists(directory):
            self.fs.delete_dir(full)


@contextlib.contextmanager
def _temporary_beside(full: str, data: bytes) -> Iterator[str]:
    """A durable temporary file with ``data`` in the directory of ``full``; always removed afterwards."""
    temporary = os.path.join(os.path.dirname(full), f".{os.path.basename(full)}.{uuid.uuid4().hex}")
    try:
        with open(temporary, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        yield temporary
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
