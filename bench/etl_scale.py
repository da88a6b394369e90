"""``python -m bench.etl_scale [MB ...]``: the whole corpus stage, raw files to snapshot, at growing sizes.

Prints the time per byte relative to the previous size, and the peak memory of the JVM and of the largest Python worker.
For the first size it also times one new file among files whose snapshot and signatures exist. The stage runs as
``python -m etl.job`` does: Spark on this machine's cores with a heap of 2 GiB, its start counted.
"""

import os
import shutil
import sys
import threading
import time
from pathlib import Path

import psutil

from bench.etl import HOME, documents, increment, pipeline
from handoff.machine import describe_machine

SAMPLE_SECONDS = 0.5


class Peaks(threading.Thread):
    """Largest resident memory of a single process, in bytes, of the JVM and of Spark's Python workers below this one."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._ended = threading.Event()
        self.bytes = {"JVM": 0, "Python worker": 0}

    def run(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            for process in psutil.Process().children(recursive=True):
                try:
                    words, size = process.cmdline(), process.memory_info().rss
                except psutil.Error:
                    continue
                kind = "JVM" if words[:1] and words[0].endswith("java") else "Python worker"
                if kind == "JVM" or "pyspark.daemon" in words:
                    self.bytes[kind] = max(self.bytes[kind], size)

    def __enter__(self) -> "Peaks":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()


def main(sizes: list[int]) -> None:
    """Run the stage once at each size, in megabytes."""
    for key, value in describe_machine().items():
        print(f"{key}: {value}")
    before, snapshots = 0.0, list[str]()
    for megabytes in sizes:
        docs = documents(megabytes) / "docs"
        size = sum(f.stat().st_size for f in docs.iterdir()) / 1e6
        begun, load = time.strftime("%H:%M"), os.getloadavg()[0]
        with Peaks() as peaks:
            seconds, snapshot = pipeline(docs)
        memory = ", ".join(f"{kind} {peak / 2**30:.2f} GiB" for kind, peak in peaks.bytes.items())
        ratio = f", per byte {seconds / size / before:.2f} x the previous size" if before else ""
        print(f"{size:,.0f} MB: {seconds:.1f} s, {size / seconds:.2f} MB/s{ratio}; peak {memory}; {snapshot}")
        print(f"  started {begun} at a load of {load:.1f}; rows and reasons:")
        lines = Path(HOME, "pipeline-out", "log.txt").read_text().splitlines()
        print("\n".join(f"  {line}" for line in lines if line.startswith("  ") and "%" in line), flush=True)
        before = seconds / size
        snapshots.append(snapshot)
    took = increment(documents(sizes[0]) / "docs", snapshots[0])
    print(f"{sizes[0]:,} MB, one new file, signatures of the others reused: {took:.1f} s")
    for out in ("grown", "pipeline", "pipeline-out"):
        shutil.rmtree(HOME / out)


if __name__ == "__main__":
    main([int(given) for given in sys.argv[1:]] or [1000, 4000])
