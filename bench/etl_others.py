"""``python -m bench.etl_others [RUNS]``: stages of the corpus beside other tools, for orientation.

- *cleaning* in Spark beside the same steps in DuckDB, at growing sizes: from which size on is Spark the faster one?
- *near-duplicates* by Baton beside Spark MLlib's MinHashLSH, at growing sizes, until one takes longer than a limit.

Each side is a process of its own on two cores, start-up counted, in turns. The cleaned texts must be equal; for
near-duplicates the F1 on planted pairs is shown.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

from bench.etl import CORES, HEAP, HOME, documents, interpreter, line, line_of_seconds, timed
from bench.score import score
from handoff.machine import describe_machine

DUCKDB = ["duckdb==2.0.1"]
CLEANING_MB = (10, 100, 1000)
NEAR_MB = (5, 25, 100)
LIMIT_SECONDS = 300


def digest(cleaned: Path) -> tuple[int, int]:
    """Number of documents, and a digest that does not depend on their order."""
    count = found = 0
    for file in cleaned.rglob("*.parquet"):
        for batch in pq.ParquetFile(file).iter_batches(columns=["id", "text"]):
            for identity, text in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                count += 1
                found ^= int.from_bytes(hashlib.blake2b(f"{identity}\0{text}".encode(), digest_size=8).digest())
    return count, found


def cleaning(runs: int) -> None:
    """Spark beside DuckDB."""
    for megabytes in CLEANING_MB:
        docs, out = str(documents(megabytes) / "docs"), {name: HOME / f"clean-{name}" for name in ("spark", "duckdb")}
        sides = {
            "spark": [sys.executable, "-m", "bench.clean_side", docs, str(out["spark"]), str(CORES), HEAP],
            "duckdb": [
                interpreter("duckdb", DUCKDB),
                "-P",
                "bench/duckdb_side.py",
                docs,
                str(out["duckdb"]),
                str(CORES),
            ],
        }
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(runs):
            for name, command in sides.items():
                seconds[name].append(timed(name, command, out[name]))
        found = {name: digest(directory / "cleaned") for name, directory in out.items()}
        if found["spark"] != found["duckdb"]:
            raise SystemExit(f"ERROR the cleaned texts differ, so no time counts: {found}")
        print(f"cleaning, {megabytes:,} MB, {found['spark'][0]:,} documents, texts equal")
        for name, took in seconds.items():
            print(f"  {name:<8} {line_of_seconds(took)}")
        for directory in out.values():
            shutil.rmtree(directory)


def near_duplicates() -> None:
    """Baton beside MLlib; a side that reaches the limit is left out of larger sizes."""
    sides = {"baton": "bench.baton_side", "mllib": "bench.mllib_side"}
    for megabytes in NEAR_MB:
        data, out = documents(megabytes), HOME / "near-out"
        print(f"near-duplicates, {megabytes:,} MB")
        for name, module in list(sides.items()):
            try:
                command = [sys.executable, "-m", module, str(data / "docs"), str(out), str(CORES), HEAP]
                took = timed(name, command, out, LIMIT_SECONDS)
                print(f"  {line(name, score(data / 'truth.jsonl', out / 'kept'), [took])}")
            except subprocess.TimeoutExpired:
                print(f"  {name:<10} not done after {LIMIT_SECONDS} s")
                del sides[name]
            except subprocess.CalledProcessError:
                print(f"  {name:<10} failed: {(out / 'log.txt').read_text().strip().splitlines()[-1][:200]}")
                del sides[name]
        shutil.rmtree(out)


def main(runs: int) -> None:
    """Run both and print their tables."""
    for key, value in describe_machine().items():
        print(f"{key}: {value}")
    print(
        f"{CORES} cores, JVM heap {HEAP}, start-up counted; {runs} runs of each side of the cleaning, one of near-duplicates"
    )
    cleaning(runs)
    near_duplicates()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
