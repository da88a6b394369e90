"""Whether an id is there twice, with eight bytes of memory per id."""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
import pyarrow as pa

from handoff.errors import SourceError


class IdHashes:
    """64-bit hashes of ids. Two ids of one hash are compared in a second reading, so none is refused wrongly."""

    def __init__(self) -> None:
        self._hashes: list[np.ndarray] = []

    def add(self, ids: pa.ChunkedArray) -> None:
        """Note a table's ids."""
        self._hashes.append(_hashed(ids))

    def refuse_repeated(self, subject: str, read: Callable[[], Iterable[pa.ChunkedArray]]) -> None:
        """See that no id is there twice.

        Args:
            subject: of the message.
            read: reads all ids again; called only where two have the same hash.

        Raises:
            SourceError: naming the first id that was there before, and both rows.
        """
        everything = np.sort(np.concatenate(self._hashes)) if self._hashes else np.empty(0, np.uint64)
        twice = everything[1:][everything[1:] == everything[:-1]]
        if not len(twice):
            return
        seen: dict[str, int] = {}
        row = 0
        for ids in read():
            for at in np.flatnonzero(np.isin(_hashed(ids), twice)):
                name, number = ids[int(at)].as_py(), row + int(at) + 1
                if name in seen:
                    raise SourceError(
                        f"prompts {subject}, row {number}: id {name!r} was there before, in row {seen[name]}. "
                        "Remedy: make ids unique"
                    )
                seen[name] = number
            row += len(ids)


def _hashed(ids: pa.ChunkedArray) -> np.ndarray:
    return pd.util.hash_array(np.asarray(ids.to_pylist(), dtype=object), categorize=False)
