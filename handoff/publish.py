"""Publish an artifact: write it aside, read it back, check it, and make it visible in one atomic last step.

Data files are written to ``<kind>/<id>/data-<attempt>/``, a directory of this attempt alone, where an engine
can write them in place on any filesystem. Nothing reads them until ``<kind>/<id>/_MANIFEST.json`` names them.
"""

import contextlib
import errno
import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.fs as pafs

from handoff import schema as schemas
from handoff.artifact import Artifact, load_manifest, open_artifact, read_footer
from handoff.budget import Budget, check
from handoff.causes import cause_of
from handoff.crash_points import crash_point
from handoff.errors import ArtifactError
from handoff.facts import Facts
from handoff.manifest import (
    MANIFEST_NAME,
    FileEntry,
    Manifest,
    Parent,
    artifact_dir,
    artifact_id,
    current_producer,
    now,
)
from handoff.store import Store, resolve, sha256_of

log = logging.getLogger("baton")

# An abandoned attempt is removed once its id is published and it has been silent for longer than any stage runs.
ABANDONED_AFTER = timedelta(days=2)


@dataclass
class Staging:
    """A place to write the files of one artifact, invisible until :meth:`publish`."""

    store: Store
    kind: str
    id: str
    config: dict[str, Any]
    parents: list[Artifact]
    data: str = field(default_factory=lambda: f"data-{uuid.uuid4().hex[:8]}")

    @property
    def path(self) -> str:
        """Path of the staging directory, relative to the store."""
        return f"{artifact_dir(self.id)}/{self.data}"

    def uri(self, name: str = "") -> str:
        """Absolute path or URI for an engine to write to; local directories are created."""
        path = f"{self.path}/{name}".rstrip("/")
        filesystem, full = self.store.locate(path)
        if self.store.is_local:
            filesystem.create_dir(full.rsplit("/", 1)[0] if "." in name.rsplit("/", 1)[-1] else full, recursive=True)
        return self.store.uri(path)

    def publish(
        self,
        *,
        schema: pa.Schema | None = None,
        rows: dict[str, int] | None = None,
        budget: Budget | None = None,
        dropped: dict[str, int] | None = None,
        facts: Facts | None = None,
        in_place: Sequence[FileEntry] = (),
    ) -> Artifact:
        """Read back what was written, check it, and make it visible.

        Args:
            schema: Arrow schema that every Parquet file must have.
            rows: rows per split that the writer counted; compared with the footers'.
            budget: layout limits.
            dropped: rows dropped per reason.
            facts: further facts for the manifest.
            in_place: files that stay where they are and belong to the artifact (raw input).

        Returns:
            The published artifact. If another writer published this id first, it is that writer's.

        Raises:
            ArtifactError: listing every file that is not as declared. Nothing becomes visible.
        """
        crash_point("publish.written")
        entries = [*in_place, *self._read_back()]
        problems = check(entries, rows, budget) + self._check_schemas(entries, schema)
        if not entries:
            problems.append("no file was written")
        if problems:
            raise ArtifactError(f"{self.id} was not published", problems, "see the layout settings and the stage's log")
        counted: dict[str, int] = {}
        for entry in entries:
            if entry.rows is not None:
                counted[entry.split or "all"] = counted.get(entry.split or "all", 0) + entry.rows
        manifest = Manifest(
            kind=self.kind,
            id=self.id,
            data="" if in_place else self.data,
            files=tuple(entries),
            fields=tuple(schemas.describe(schema)) if schema else None,
            schema_fingerprint=schemas.fingerprint(schema) if schema else None,
            rows=counted,
            dropped=dropped or {},
            facts=facts.told() if facts else {},
            parents=tuple(Parent(id=p.id, digest=p.manifest.digest) for p in self.parents),
            config=self.config,
            producer=current_producer(),
            created=now(),
        ).sealed()
        crash_point("publish.checked")
        text = manifest.model_dump_json(indent=2, exclude_none=True).encode()
        created = self.store.create(f"{artifact_dir(self.id)}/{MANIFEST_NAME}", text)
        crash_point("publish.visible")
        if not created:
            self.discard()
        self._remove_abandoned()
        return open_artifact(self.store, self.id)

    def discard(self) -> None:
        """Remove what this attempt wrote."""
        self.store.delete(self.path)

    def _read_back(self) -> list[FileEntry]:
        prefix = f"{self.path}/"
        names = [p[len(prefix) :] for p in self.store.files(self.path)]
        kept = [n for n in names if not n.rsplit("/", 1)[-1].startswith(("_", "."))]  # markers and checksums of engines
        with ThreadPoolExecutor(max_workers=8) as pool:
            return list(pool.map(self._entry, kept))

    def _entry(self, name: str) -> FileEntry:
        path = f"{self.path}/{name}"
        entry = FileEntry(path=name, bytes=self.store.size(path) or 0, sha256=self.store.sha256(path))
        if not name.endswith(".parquet"):
            return entry
        footer = read_footer(self.store, path)
        groups = [footer.row_group(i).total_byte_size for i in range(footer.num_row_groups)]
        return entry.model_copy(
            update={
                "split": name.split("/", 1)[0] if "/" in name else None,
                "rows": footer.num_rows,
                "row_groups": footer.num_row_groups,
                "largest_row_group_bytes": max(groups, default=0),
            }
        )

    def _check_schemas(self, entries: Sequence[FileEntry], schema: pa.Schema | None) -> list[str]:
        if schema is None:
            return []
        declared, problems = schemas.describe(schema), []
        for entry in entries:
            if entry.rows is not None:
                footer = read_footer(self.store, f"{self.path}/{entry.path}")
                found = schemas.describe(footer.schema.to_arrow_schema())
                problems += [f"{entry.path}: {p}" for p in schemas.differences(declared, found)]
        return problems

    def _remove_abandoned(self) -> None:
        """Remove attempts of this id that crashed long ago."""
        published = load_manifest(self.store, self.id)
        newest: dict[str, datetime] = {}
        for path in self.store.files(artifact_dir(self.id)):
            attempt = path.split("/")[2]
            if attempt.startswith("data-") and attempt != published.data:
                filesystem, full = self.store.locate(path)
                written = filesystem.get_file_info(full).mtime
                if written is not None:  # its own writer may be removing it at this moment
                    newest[attempt] = max(newest.get(attempt, written), written)
        for attempt, written in newest.items():
            if now() - written > ABANDONED_AFTER:
                self.store.delete(f"{artifact_dir(self.id)}/{attempt}")


NO_CODE = 0  # the version of what is as it is found: raw files, a model that somebody else made


class Obtained(NamedTuple):
    """An artifact, and whether it was there already."""

    artifact: Artifact
    reused: bool


def obtain(
    store: Store,
    kind: str,
    version: int,
    config: dict[str, Any],
    parents: Sequence[Artifact],
    make: Callable[[Staging], Artifact],
) -> Obtained:
    """The artifact of this work: found where it is published, else made.

    Args:
        store: where to look and publish.
        kind: kind of artifact.
        version: of the code that makes it. Raise it when the same configuration and parents give other contents; else
            old results are reused. ``tests/test_golden.py`` guards it.
        config: everything but version and parents that determines the contents.
        parents: the artifacts it is made from.
        make: writes the files to the place it is given, and returns what ``publish`` of the place returns.

    Raises:
        ArtifactError: what is published is not whole; the disk is full. Errors of ``make`` pass through.
    """
    settings = versioned(version, config)
    if found := find(store, kind, settings, parents):
        log.info("%s is already published: reused", found.id)
        made, here = found.manifest.producer.commit, current_producer().commit
        if made != here:
            log.info("  it was made by commit %s, this is %s; both are version %d of its code", made, here, version)
        return Obtained(found, reused=True)
    with staging(store, kind, settings, parents) as place:
        return Obtained(make(place), reused=False)


def versioned(version: int, config: dict[str, Any]) -> dict[str, Any]:
    """What goes into an id besides the parents. The version ``NO_CODE`` is left out."""
    return {"code_version": version, **config} if version else config


def find(store: Store, kind: str, config: dict[str, Any], parents: Sequence[Artifact]) -> Artifact | None:
    """The artifact that this work would make, opened and checked, if it is already published.

    Args:
        config: with the version of the code, as :func:`versioned` puts it there.
    """
    identity = artifact_id(kind, config, [p.id for p in parents])
    if not store.exists(f"{artifact_dir(identity)}/{MANIFEST_NAME}"):
        return None
    return open_artifact(store, identity)


@contextlib.contextmanager
def staging(store: Store, kind: str, config: dict[str, Any], parents: Sequence[Artifact]) -> Iterator[Staging]:
    """A place to write one artifact. If the block raises, what was written is removed.

    Args:
        store: where to publish.
        kind: kind of artifact.
        config: everything but the parents that determines the contents; becomes part of the id.
        parents: the artifacts it is made from.

    Raises:
        ArtifactError: the disk is full. Other errors pass through.
    """
    identity = artifact_id(kind, config, [p.id for p in parents])
    place = Staging(store, kind, identity, config, list(parents))
    try:
        with full_disk_told(f"{identity} was not published", f"no space left in {store.root}"):
            yield place
    except BaseException as error:
        if not cause_of(error).store_is_gone:  # else each request waits for the store again
            place.discard()
        raise


DISK_FULL = "free space there, or set BATON_HOME to a larger disk, and rerun"


@contextlib.contextmanager
def full_disk_told(subject: str, problem: str) -> Iterator[None]:
    """Turn the error of a full disk within the block into an ArtifactError with the remedy. Others pass through."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ArtifactError(subject, [problem], DISK_FULL) from error
        raise


def describe_in_place(uri: str) -> FileEntry:
    """The entry of a file that stays where it is: absolute path or URI, bytes, SHA-256."""
    filesystem, path = resolve(uri)
    absolute = path if isinstance(filesystem, pafs.LocalFileSystem) else uri
    return FileEntry(path=absolute, bytes=filesystem.get_file_info(path).size or 0, sha256=sha256_of(filesystem, path))
