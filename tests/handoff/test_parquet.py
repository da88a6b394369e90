"""A reader's memory is that of one row group, whatever the file's size, and known from the footer."""

import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from handoff.parquet import batches, reading_bytes
from tests.support import VERSES

READ = """
import sys, pyarrow as pa, pyarrow.parquet as pq
from handoff.parquet import batches
with pq.ParquetFile(sys.argv[1]) as file:
    for batch in batches(file, ["text"], 512):
        batch["text"].to_pylist()
print(pa.default_memory_pool().max_memory())
"""


def written(path: Path, rows: int, groups: int) -> Path:
    """A file of row groups of ``rows`` texts of about 1.4 kB."""
    draw, words = random.Random(rows), " ".join(VERSES).split()
    texts = [" ".join(draw.choices(words, k=260)) for _ in range(rows)]
    table = pa.table({"row_id": [f"{n:032x}" for n in range(rows)], "text": texts})
    with pq.ParquetWriter(path, table.schema, compression="zstd", use_dictionary=False) as writer:
        for _ in range(groups):
            writer.write_table(table, row_group_size=rows)
    return path


@pytest.mark.parametrize("rows", [2_000, 20_000])
def test_a_readers_memory_is_predicted_within_a_fifth_whatever_the_number_of_row_groups(
    tmp_path: Path, rows: int
) -> None:
    for groups in (1, 4):
        path = written(tmp_path / f"{groups}.parquet", rows, groups)
        done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True)
        with pq.ParquetFile(path) as file:
            assert int(done.stdout) == pytest.approx(reading_bytes(file, ["text"]), rel=0.2)


def test_batches_are_all_rows_in_order(tmp_path: Path) -> None:
    table = pa.table({"n": pa.array(range(1000))})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=300)
    with pq.ParquetFile(tmp_path / "a.parquet") as file:
        found = list(batches(file, ["n"], 128))
    assert max(len(batch) for batch in found) == 128
    assert pa.Table.from_batches(found).equals(table)
