"""The manifest: what an artifact is, what it was made from, and how to tell that it is whole."""

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from handoff.stages import require_declared

FORMAT_VERSION = 1
MANIFEST_NAME = "_MANIFEST.json"
ENGINES = ("pyspark", "ray", "torch", "deepspeed", "transformers", "peft", "pyarrow", "apache-airflow")


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(Frozen):
    """One data file. Row counts are set for Parquet files only."""

    path: str = Field(description="relative to the artifact's directory; absolute for raw files used in place")
    bytes: int
    sha256: str
    split: str | None = None
    rows: int | None = None
    row_groups: int | None = None
    largest_row_group_bytes: int | None = Field(default=None, description="uncompressed; a reader's memory follows it")


class Parent(Frozen):
    """An artifact that this one was made from, by id and by the digest of its manifest at that time."""

    id: str
    digest: str


class Producer(Frozen):
    commit: str
    versions: dict[str, str]
    platform: str


class Manifest(Frozen):
    format_version: int = FORMAT_VERSION
    kind: Annotated[str, AfterValidator(require_declared)]
    id: str
    data: str = Field(description="directory of the data files, relative to the artifact's; '' for raw files in place")
    files: tuple[FileEntry, ...]
    fields: tuple[dict[str, str], ...] | None = Field(default=None, description="name and Arrow type of each column")
    schema_fingerprint: str | None = None
    rows: dict[str, int] = Field(default_factory=dict, description="rows per split")
    dropped: dict[str, int] = Field(default_factory=dict, description="dropped rows per reason")
    facts: dict[str, Any] = Field(default_factory=dict, description="further facts of this kind of artifact")
    parents: tuple[Parent, ...] = ()
    config: dict[str, Any] = Field(description="the configuration that made it; part of the id")
    producer: Producer
    created: datetime
    digest: str = Field(default="", description="SHA-256 of this manifest without this field; reveals edits")

    def compute_digest(self) -> str:
        return hashlib.sha256(canonical(self.model_dump(mode="json", exclude={"digest"})).encode()).hexdigest()

    def compute_id(self) -> str:
        return artifact_id(self.kind, self.config, [p.id for p in self.parents])

    def parent(self, kind: str) -> str | None:
        """Id of the first parent of a kind; None where there is none."""
        return next((p.id for p in self.parents if kind_of(p.id) == kind), None)

    def sealed(self) -> "Manifest":
        """This manifest with its digest filled in."""
        return self.model_copy(update={"digest": self.compute_digest()})

    @property
    def total_bytes(self) -> int:
        return sum(f.bytes for f in self.files)


def canonical(value: Any) -> str:
    """JSON with one spelling per value, so that equal values have equal digests."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def artifact_id(kind: str, config: dict[str, Any], parents: list[str]) -> str:
    """``<kind>-<16 hex digits>`` from what the artifact is made of: the same work always has the same id.

    Raises:
        ValueError: no stage publishes this kind.
    """
    require_declared(kind)
    identity = canonical({"kind": kind, "config": config, "parents": parents, "format": FORMAT_VERSION})
    return f"{kind}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


def kind_of(identity: str) -> str:
    """The kind of artifact that an id names."""
    return identity.split("-", 1)[0]


def artifact_dir(identity: str) -> str:
    """Where an artifact lives in a store: ``<kind>/<id>``."""
    return f"{kind_of(identity)}/{identity}"


@functools.cache
def current_producer() -> Producer:
    """Who is writing: commit of the code, versions of the engines, platform."""
    versions = {"python": platform.python_version()}
    for name in ENGINES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return Producer(commit=_commit(), versions=versions, platform=platform.platform())


def _commit() -> str:
    """The code's commit, with '+changes' if the work tree differs; BATON_COMMIT for code that is shipped without git."""
    if named := os.environ.get("BATON_COMMIT"):
        return named
    here = os.path.dirname(os.path.abspath(__file__))
    try:
        head = subprocess.run(
            ["git", "-C", here, "describe", "--always", "--dirty=+changes", "--abbrev=12", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return head.stdout.strip()


def now() -> datetime:
    return datetime.now(UTC)
