"""What a stage has done of an artifact so far: files that survive a kill, for the next attempt to go on from.

They lie in ``<kind>/<id>/work/``, which no manifest names, so no reader sees them. The id follows from inputs and
configuration: only the same work finds them.
"""

import functools
from dataclasses import dataclass
from typing import Any

from handoff.artifact import Artifact
from handoff.manifest import artifact_dir, artifact_id
from handoff.publish import full_disk_told
from handoff.store import Store


@dataclass(frozen=True)
class Working:
    """The unfinished files of one artifact; a small value that travels to worker processes.

    Attributes:
        storage: root of the store.
        id: of the artifact that is being made.
    """

    storage: str
    id: str

    @classmethod
    def of(cls, store: Store, kind: str, config: dict[str, Any], parents: list[Artifact]) -> "Working":
        """The place of the artifact that :func:`handoff.publish.staging` would make of the same arguments."""
        return cls(store.root, artifact_id(kind, config, [p.id for p in parents]))

    def names(self, directory: str) -> list[str]:
        """Names of the files in a directory, sorted."""
        prefix = self._path(directory) + "/"
        return [path[len(prefix) :] for path in _store(self.storage).files(self._path(directory))]

    def locate(self, name: str) -> tuple[Any, str]:
        """Filesystem and path of a file."""
        return _store(self.storage).locate(self._path(name))

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file: after a kill it is there as a whole, or not at all. Raises ArtifactError: the disk is full."""
        left = f"no space left in {self.storage}; what is written stays."
        with full_disk_told(f"{self.id} is not finished", left):
            _store(self.storage).write(self._path(name), data)

    def read(self, name: str) -> bytes | None:
        """A file's bytes; None where there is none."""
        try:
            return _store(self.storage).read(self._path(name))
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """Remove a file; no error where there is none."""
        _store(self.storage).remove(self._path(name))

    def clear(self) -> None:
        """Remove everything, once the artifact is published."""
        _store(self.storage).delete(f"{artifact_dir(self.id)}/work")

    def _path(self, name: str) -> str:
        return f"{artifact_dir(self.id)}/work/{name}"


@functools.lru_cache(maxsize=4)
def _store(root: str) -> Store:
    return Store(root)
