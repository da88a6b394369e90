"""``python -m bench.etl_shuffle [MB ...]``: what the corpus stage shuffles, spills and lists, per byte and per file.

bench/sizing.py computes the table of docs/clusters.md from these figures. They come from Spark's own event log of the
stage as ``python -m etl.job`` runs it. Files of 1 MiB are written, so that an entry of the manifest can be weighed.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from bench.etl import HOME, documents
from etl.config import CorpusConfig
from handoff.artifact import open_artifact
from handoff.machine import describe_machine
from handoff.run_dir import RunDir


def tallied(events: Path) -> Counter[str]:
    """Sums over all tasks of an event log: bytes shuffled and spilled, shuffles, tasks, the largest result a stage sent."""
    found, shuffles, results = Counter[str](), set(), Counter[int]()
    with events.open() as lines:
        for line in lines:
            event = json.loads(line)
            if event["Event"] != "SparkListenerTaskEnd" or not (metrics := event.get("Task Metrics")):
                continue
            written = metrics["Shuffle Write Metrics"]["Shuffle Bytes Written"]
            found["shuffled"] += written
            found["spilled"] += metrics["Disk Bytes Spilled"]
            results[event["Stage ID"]] += metrics["Result Size"]
            found["tasks"] += 1
            if written:
                shuffles.add(event["Stage ID"])
    found["shuffles"] = len(shuffles)
    found["results"] = max(results.values())
    return found


def measure(megabytes: int) -> str:
    """Run the stage on generated documents of this size; a line of figures."""
    docs = documents(megabytes) / "docs"
    raw = sum(file.stat().st_size for file in docs.iterdir())
    home = Path(tempfile.mkdtemp(dir=HOME))
    try:
        settings = {"enabled": "true", "dir": f"file://{home}/events", "compress": "false", "rolling.enabled": "false"}
        (home / "events").mkdir()
        (home / "conf").mkdir()
        (home / "conf" / "spark-defaults.conf").write_text(
            "".join(f"spark.eventLog.{name} {value}\n" for name, value in settings.items())
        )
        source = {"uri": f"{docs}/*.jsonl", "id_column": "id"}
        corpus = CorpusConfig.model_validate({"source": source, "layout": {"target_file_mib": 1}})
        run = RunDir(str(home / "run"))
        run.create(str(home / "artifacts"), {"corpus": corpus.model_dump(mode="json")})
        environment = {**os.environ, "SPARK_CONF_DIR": str(home / "conf")}
        subprocess.run(
            [sys.executable, "-m", "etl.job", run.uri], check=True, env=environment, stdout=subprocess.DEVNULL
        )
        (events,) = (home / "events").iterdir()
        sums = tallied(events)
        record = run.record("corpus")
        assert record and record.artifact
        manifest = open_artifact(run.store, record.artifact).manifest
        entries = len(json.dumps([file.model_dump(mode="json") for file in manifest.files]))
        written = sum(file.bytes for file in manifest.files)
    finally:
        shutil.rmtree(home)
    return (
        f"{raw / 1e6:,.0f} MB: shuffled {sums['shuffled'] / raw:.2f} bytes a byte of raw text, spilled {sums['spilled'] / raw:.2f}, "
        f"written {written / raw:.2f}; {sums['shuffles']} stages shuffle, {sums['tasks']} tasks; the largest result of a stage has "
        f"{sums['results']:,} bytes; {len(manifest.files)} files of {entries / len(manifest.files):.0f} bytes in the manifest"
    )


def main(sizes: list[int]) -> None:
    for key, value in describe_machine().items():
        print(f"{key}: {value}")
    for megabytes in sizes:
        print(measure(megabytes), flush=True)


if __name__ == "__main__":
    main([int(given) for given in sys.argv[1:]] or [30, 100])
