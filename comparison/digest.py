"""Whether two outputs are equal: a digest of their rows that does not depend on files, and a comparison of floats."""

import json
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from comparison.form import Compared


@dataclass(frozen=True)
class Digest:
    """What a set of rows is known by.

    Attributes:
        rows: number of rows.
        total: sum of the rows' BLAKE2b-64 hashes modulo 2**64; the order of rows does not matter.
        sequence: BLAKE2b-64 of the hashes in order, in hexadecimal; empty where order does not count.
    """

    rows: int
    total: int
    sequence: str = ""

    def __str__(self) -> str:
        return f"{self.rows}:{self.total:016x}" + (f":{self.sequence}" if self.sequence else "")


def files(directory: Path) -> list[Path]:
    """Parquet files below a directory in the order of their names, without empty ones and engines' marks."""
    return sorted(
        path
        for path in directory.rglob("*.parquet")
        if not any(part.startswith(("_", ".")) for part in path.relative_to(directory).parts)
    )


def digest_of(directory: Path, compared: Compared = "rows") -> Digest:
    """Digest of all rows below a directory. Columns count by name, not by place; floats by their shortest text.

    Raises:
        FileNotFoundError: there is no Parquet file.
    """
    paths = files(directory)
    if not paths:
        raise FileNotFoundError(f"{directory} has no Parquet file")
    rows, total, sequence = 0, 0, blake2b(digest_size=8)
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=8192):
                for row in batch.select(sorted(batch.schema.names)).to_pylist():
                    text = json.dumps(row, ensure_ascii=False, separators=(",", ":"), default=_told)
                    hashed = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
                    total += int.from_bytes(hashed, "big")
                    rows += 1
                    if compared == "ordered":
                        sequence.update(hashed)
    return Digest(rows, total % 2**64, sequence.hexdigest() if compared == "ordered" else "")


def _told(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else str(value)


def close(one: Path, other: Path, tolerance: float) -> str | None:
    """Why two outputs are not the same but for floats within ``tolerance``; None where they are.

    Rows are compared in the order of all columns that hold no float.
    """
    left, right = _sorted(one), _sorted(other)
    if left.num_rows != right.num_rows:
        return f"{left.num_rows} rows and {right.num_rows}"
    if sorted(left.column_names) != sorted(right.column_names):
        return f"columns {sorted(left.column_names)} and {sorted(right.column_names)}"
    for name in sorted(left.column_names):
        ours, theirs = left[name].combine_chunks(), right[name].combine_chunks()
        if not _is_float(ours.type):
            if ours.to_pylist() != theirs.to_pylist():
                return f"column {name} differs"
            continue
        a, b = _flat(ours), _flat(theirs)
        if a.shape != b.shape:
            return f"column {name} has {a.size} and {b.size} values"
        apart = float(np.max(np.abs(a - b))) if a.size else 0.0
        if not np.allclose(a, b, rtol=0, atol=tolerance):
            return f"column {name} differs by up to {apart:.3g}, more than {tolerance:g}"
    return None


def _sorted(directory: Path) -> pa.Table:
    table = pa.concat_tables([pq.read_table(path) for path in files(directory)], promote_options="permissive")
    keys = [(f.name, "ascending") for f in table.schema if not _is_float(f.type) and not pa.types.is_nested(f.type)]
    return table.sort_by(keys) if keys else table


def _is_float(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else kind
    return pa.types.is_floating(inner)


def _flat(column: pa.Array) -> np.ndarray:
    if pa.types.is_nested(column.type):
        column = column.flatten()
    return column.to_numpy(zero_copy_only=False).astype(np.float64)
