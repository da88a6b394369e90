"""``python -m bench.sizing``: the sizing table of docs/clusters.md, computed from measured costs per byte and per file."""

import math
from dataclasses import dataclass

from etl.config import LayoutConfig
from etl.spark_conf import PARTITION_BYTES

GIB, MIB = 1 << 30, 1 << 20
# docs/benchmarks.md: the corpus stage on 2.2 GB, two cores.
BYTES_A_SECOND_AND_CORE = 2.09e6
# python -m bench.etl_shuffle 30 100 300: of each byte of raw text, compressed; 0.72 at 26 MB, 1.00 at 102, 1.02 at 307.
SHUFFLED_A_BYTE = 1.0
# The same: an entry of a Parquet file in a manifest.
MANIFEST_BYTES_A_FILE = 264
# docs/benchmarks.md: a heap of 2 GiB and two Python workers of 0.18 GiB did 2.2 GB on two cores. Partitions have one size
# whatever the text's, and what is kept of them goes to disk: memory follows the cores.
HEAP_BYTES_A_CORE = 1 * GIB
PYTHON_BYTES_A_CORE = 0.25 * GIB
# Heap with which the driver listed 5 million documents, executor included (tests/etl/test_many_documents.py).
DRIVER_BYTES = 2 * GIB


@dataclass(frozen=True)
class Size:
    name: str
    raw_bytes: float
    cores: int

    @property
    def partitions(self) -> int:
        return math.ceil(self.raw_bytes / PARTITION_BYTES)

    @property
    def files(self) -> int:
        """Parquet files, if the rows did not shrink."""
        return math.ceil(self.raw_bytes / (LayoutConfig().target_file_mib * MIB))

    @property
    def executor_bytes(self) -> float:
        """Of all executors together."""
        return self.cores * (HEAP_BYTES_A_CORE + PYTHON_BYTES_A_CORE)

    @property
    def driver_bytes(self) -> float:
        """A bit for each reducer that gets nothing from a mapper, of one shuffle, beside what any size needs."""
        return DRIVER_BYTES + self.partitions**2 / 8

    @property
    def seconds(self) -> float:
        return self.raw_bytes / (self.cores * BYTES_A_SECOND_AND_CORE)

    def row(self) -> list[str]:
        return [
            self.name,
            f"{self.cores:,}",
            f"{self.partitions:,}",
            amount(self.raw_bytes * SHUFFLED_A_BYTE),
            f"{self.executor_bytes / GIB:,.0f} GiB",
            f"{self.driver_bytes / GIB:.1f} GiB",
            f"{self.files:,}",
            amount(self.files * MANIFEST_BYTES_A_FILE),
            f"{self.seconds / 60:.0f} min",
        ]


SIZES = (Size("10 GB", 10e9, 16), Size("1 TB", 1e12, 200), Size("15 TB", 15e12, 2000))
HEADER = (
    "Raw text", "Cores", "Partitions", "Shuffled", "Executors", "Driver", "Parquet files, at most", "Manifest", "Corpus stage",
)  # fmt: skip


def amount(count: float) -> str:
    """Bytes with two digits or more, such as ``1.2 TB``."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.1f} {unit}" if count < 10 else f"{count:.0f} {unit}"
        count /= 1000
    raise AssertionError("TB ends the loop")


def table() -> str:
    lines = [HEADER, ("---",) * len(HEADER), *(size.row() for size in SIZES)]
    return "\n".join(f"| {' | '.join(cells)} |" if cells[0] != "---" else f"|{'|'.join(cells)}|" for cells in lines)


if __name__ == "__main__":
    print(table())
