"""Open an artifact. Every reader goes through here, and one error lists every mismatch."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from handoff import schema as schemas
from handoff.errors import ArtifactError
from handoff.manifest import MANIFEST_NAME, FileEntry, Manifest, artifact_dir
from handoff.store import Store

REBUILD = "remove this directory and rerun the stage that made it"


@dataclass(frozen=True)
class Artifact:
    """A published artifact: its manifest and the store that holds it."""

    store: Store
    manifest: Manifest

    @property
    def id(self) -> str:
        return self.manifest.id

    @property
    def directory(self) -> str:
        """Absolute path or URI of the artifact, the directory that holds the manifest."""
        return self.store.uri(artifact_dir(self.id))

    @property
    def data(self) -> str:
        """Absolute path or URI of the directory with the data files (a Hugging Face directory for a model)."""
        return f"{self.directory}/{self.manifest.data}" if self.manifest.data else self.directory

    def path_of(self, entry: FileEntry) -> str:
        """Path of one data file: relative to the store, or absolute for a file outside of it."""
        if "://" in entry.path or entry.path.startswith("/"):
            return entry.path
        return f"{artifact_dir(self.id)}/{self.manifest.data}/{entry.path}"

    def files(self, split: str | None = None) -> list[str]:
        """Absolute paths or URIs of the data files, of one split where given, in the manifest's order."""
        chosen = [f for f in self.manifest.files if split is None or f.split == split]
        return [p if "://" in (p := self.path_of(f)) or p.startswith("/") else self.store.uri(p) for f in chosen]


def load_manifest(store: Store, identity: str) -> Manifest:
    """The manifest of an artifact, parsed but not checked. Raises ArtifactError if there is none."""
    path = f"{artifact_dir(identity)}/{MANIFEST_NAME}"
    try:
        return Manifest.model_validate_json(store.read(path))
    except FileNotFoundError:
        problem = f"no manifest at {store.uri(path)}, so the artifact does not exist"
        raise ArtifactError(identity, [problem], "run the stage that makes it, or correct the id") from None
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, e["loc"])) or e["msg"] for e in error.errors())
        raise ArtifactError(identity, [f"{MANIFEST_NAME} cannot be read ({fields})"], REBUILD) from None


def open_artifact(
    store: Store, identity: str, *, schema: pa.Schema | None = None, digests: bool = False, split: str | None = None
) -> Artifact:
    """Open an artifact for reading after checking it against its manifest.

    Args:
        store: where it lives.
        identity: its id, ``<kind>-<hex>``.
        schema: the Arrow schema that the reader relies on.
        digests: also read every file and compare its SHA-256.
        split: the split that the reader needs; must have rows.

    Raises:
        ArtifactError: listing every mismatch.
    """
    artifact = Artifact(store, load_manifest(store, identity))
    problems = check_manifest(artifact.manifest, identity) + check_files(artifact, digests=digests)
    if schema is not None:
        problems += schemas.differences(schemas.describe(schema), list(artifact.manifest.fields or ()))
    if split is not None and not artifact.manifest.rows.get(split):
        counts = ", ".join(f"{k}: {v}" for k, v in artifact.manifest.rows.items())
        problems.append(f"split {split!r} has no rows ({counts or 'no splits at all'})")
    if problems:
        raise ArtifactError(artifact.directory, problems, REBUILD)
    return artifact


def check_manifest(manifest: Manifest, identity: str) -> list[str]:
    """Evidence that a manifest was edited or moved: a wrong id or a wrong digest."""
    problems = []
    if manifest.id != identity:
        problems.append(f"{MANIFEST_NAME} belongs to {manifest.id}, not to {identity}")
    if manifest.digest != manifest.compute_digest():
        problems.append(f"{MANIFEST_NAME} was edited: its digest does not match its contents")
    elif manifest.id != manifest.compute_id():
        problems.append(f"{MANIFEST_NAME} was edited: its id does not follow from its config and parents")
    return problems


def check_files(artifact: Artifact, *, digests: bool) -> list[str]:
    """Every data file that is missing, of another size, of another schema or (on request) of another digest."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        found = pool.map(lambda f: _check_file(artifact, f, digests), artifact.manifest.files)
    return [problem for problems in found for problem in problems]


def _check_file(artifact: Artifact, entry: FileEntry, digests: bool) -> list[str]:
    path = artifact.path_of(entry)
    size = artifact.store.size(path)
    if size is None:
        return [f"file {entry.path} is missing"]
    if size != entry.bytes:
        return [f"file {entry.path} has {size} bytes, the manifest says {entry.bytes}"]
    if digests and artifact.store.sha256(path) != entry.sha256:
        return [f"file {entry.path} was changed: its SHA-256 differs from the manifest's"]
    if entry.rows is None:
        return []
    try:
        footer = read_footer(artifact.store, path)
    except pa.ArrowInvalid as error:
        return [f"file {entry.path} is not readable as Parquet: {error}"]
    problems = schemas.differences(
        list(artifact.manifest.fields or ()), schemas.describe(footer.schema.to_arrow_schema())
    )
    if footer.num_rows != entry.rows:
        problems.append(f"has {footer.num_rows} rows, the manifest says {entry.rows}")
    return [f"file {entry.path}: {p}" for p in problems]


def read_footer(store: Store, path: str) -> pq.FileMetaData:
    """Parquet footer of a file; reads the end of the file only."""
    filesystem, full = store.locate(path)
    with pq.ParquetFile(full, filesystem=filesystem) as file:
        return file.metadata
