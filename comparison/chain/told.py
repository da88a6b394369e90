"""The output of a chain, by which three architectures are compared: rows, blocks, losses, weights, predictions."""

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from comparison.chain.settings import Chain
from comparison.chain.worker import losses_and_blocks

MOST_VALUES = 1 << 20  # of a tensor; of a larger one every n-th is compared
SCHEMA = pa.schema(
    [("kind", pa.string()), ("name", pa.string()), ("text", pa.string()), ("values", pa.list_(pa.float64()))]
)


def tell(chain: Chain, files: list[str], predictions: pa.Table, output: Path) -> None:
    """Write what a chain made.

    Args:
        chain: the settings.
        files: the ordered rows.
        predictions: columns id and completion.
        output: directory to make; its one file has a row per thing that must be equal, floats apart in ``values``.
    """
    entries = [
        _rows(files),
        *(("step", f"{step}-{rank}", blocks, [loss]) for step, rank, loss, blocks in losses_and_blocks(chain)),
        *(("weights", name, "", values) for name, values in _weights(chain.tuned)),
        *(("prediction", r["id"], r["completion"], []) for r in predictions.select(["id", "completion"]).to_pylist()),
    ]
    output.mkdir(parents=True)
    columns = [pa.array(column, field.type) for column, field in zip(zip(*entries, strict=True), SCHEMA, strict=True)]
    pq.write_table(pa.table(columns, schema=SCHEMA), output / "part-00000.parquet")


def _rows(files: list[str]) -> tuple[str, str, str, list[float]]:
    """Digest over id and text of all rows in order, and their number."""
    digest, count = blake2b(digest_size=16), 0
    for file in files:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(columns=["row_id", "text"]):
                joined = pc.binary_join_element_wise(batch["row_id"], batch["text"], "\0", "\0").to_pylist()
                digest.update("".join(joined).encode())
                count += batch.num_rows
    return "rows", "all", digest.hexdigest(), [float(count)]


def _weights(directory: Path) -> Iterator[tuple[str, list[float]]]:
    """Name and values of each tensor of a Hugging Face directory."""
    from safetensors.numpy import load_file

    for file in sorted(directory.glob("*.safetensors")):
        tensors: dict[str, Any] = load_file(file)
        for name, tensor in sorted(tensors.items()):
            flat = tensor.reshape(-1)
            yield name, flat[:: -(-flat.size // MOST_VALUES)].astype(float).tolist()
