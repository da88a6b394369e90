"""Reading rows of a prompts artifact where they are needed: Parquet in row groups of equal size."""

import functools
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from handoff.artifact import Artifact, load_manifest
from handoff.errors import ArtifactError
from handoff.store import Store

GROUP_ROWS = 512  # every row group but the last one has as many: a row is found by arithmetic
FILE_ROWS = 128 * GROUP_ROWS


@dataclass(frozen=True)
class PromptRows:
    """Rows of a prompts artifact, ``count`` of its ``total`` spread evenly; a small value that travels to workers.

    A row's *place* is its number among the chosen ones; its position is its number in the artifact.
    """

    storage: str
    id: str
    total: int
    count: int

    @classmethod
    def of(cls, prompts: Artifact, count: int | None = None) -> "PromptRows":
        """All rows, or ``count`` of them."""
        total = prompts.manifest.rows["all"]
        return cls(prompts.store.root, prompts.id, total, total if count is None else min(count, total))

    def position(self, place: int) -> int:
        return place * self.total // self.count

    def first_place(self, position: int) -> int:
        """The first place whose position is ``position`` or later."""
        return -(-position * self.count // self.total)

    def read(self, start: int, stop: int) -> pa.Table:
        """Rows at the places from ``start`` to before ``stop``, with a column ``place`` (int64) in front.

        Raises:
            ArtifactError: the artifact is not there any more.
        """
        places = np.arange(start, stop)
        positions = places * self.total // self.count
        groups = np.unique(positions // GROUP_ROWS)
        try:
            tables = [self._group(int(group)) for group in groups]
        except FileNotFoundError as error:
            raise ArtifactError(self.id, [f"a file is gone ({error})"], "rerun the stage") from None
        starts = np.cumsum([0, *map(len, tables[:-1])])
        rows = starts[np.searchsorted(groups, positions // GROUP_ROWS)] + positions % GROUP_ROWS
        table = pa.concat_tables(tables).take(pa.array(rows)).combine_chunks()
        return table.add_column(0, "place", pa.array(places, pa.int64()))

    def _group(self, group: int) -> pa.Table:
        artifact = _opened(self.storage, self.id)
        entry = artifact.manifest.files[group * GROUP_ROWS // FILE_ROWS]
        filesystem, path = artifact.store.locate(artifact.path_of(entry))
        with pq.ParquetFile(path, filesystem=filesystem) as file:
            return file.read_row_group(group % (FILE_ROWS // GROUP_ROWS))


@functools.lru_cache(maxsize=4)  # once per worker process
def _opened(storage: str, identity: str) -> Artifact:
    store = Store(storage)
    return Artifact(store, load_manifest(store, identity))
