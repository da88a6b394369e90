"""The predict stage on a real file system that fills up: what is written stays, nothing is published, a rerun goes on."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from handoff.artifact import Artifact
from handoff.errors import EXIT_USER_ERROR
from handoff.store import Store
from inference.config import InferenceConfig
from inference.prompts import publish_prompts
from tests.inference.support import make_run, publish_models, rows_of, write_prompts

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

ROWS = 640
SHARDS_KB = 160  # room for some of the forty shards
# In a mount namespace of its own, which any user may have: the store on a file system of its own, too small, then not.
SCRIPT = """
set -eu
cp -a "$STORE" "$SEED"
mount -t tmpfs -o size="$KB"k tmpfs "$STORE"
cp -a "$SEED"/. "$STORE"
"$PYTHON" -m inference.job "$RUN" >"$OUT"/first 2>&1 && code=0 || code=$?
echo $code >"$OUT"/code
find "$STORE"/predictions -name "*.parquet" | sort >"$OUT"/written
find "$STORE"/predictions -name _MANIFEST.json >"$OUT"/manifests
mount -o remount,size=256m "$STORE"
"$PYTHON" -m inference.job "$RUN" >"$OUT"/second 2>&1
cp -a "$STORE"/. "$SEED"
"""


def test_a_disk_that_fills_up_while_answers_are_written(
    store: Store, tiny_model: Path, tiny_corpus: Artifact, tmp_path: Path
) -> None:
    _, tuned = publish_models(store, tiny_model, tiny_corpus)
    uri = write_prompts(tmp_path / "asked.jsonl", ROWS)
    config = InferenceConfig(prompts=uri, baseline_prompts=0, max_new_tokens=8, num_actors=2, window_rows=16)
    publish_prompts(store, config, None)
    run = make_run(tmp_path / "run", store, tuned, config)
    used = int(subprocess.check_output(["du", "-sk", store.root], text=True).split()[0])
    out, seed = tmp_path / "out", tmp_path / "seed"
    out.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {
        "STORE": store.root, "SEED": str(seed), "KB": str(used + SHARDS_KB), "RUN": run.uri, "OUT": str(out),
        "PYTHON": sys.executable,
    }  # fmt: skip
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT],
        env=environment, text=True, capture_output=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.stderr, *(file.read_text() for file in sorted(out.iterdir())))

    first = (out / "first").read_text()
    told = next(line for line in first.splitlines() if line.startswith("ERROR predict"))
    assert f"no space left in {store.root}" in told and "free space there" in told and "Traceback" not in first
    assert int((out / "code").read_text()) == EXIT_USER_ERROR
    written = [path for path in (out / "written").read_text().split() if "/rows/" in path]
    assert 0 < len(written) < 40 and (out / "manifests").read_text() == "", (
        "some shards, and nothing that a reader sees"
    )

    shutil.copytree(seed, store.root, dirs_exist_ok=True)
    record = run.record("predict")
    assert record and record.metrics["resumed_rows"] == 16 * len(written)
    assert [row["id"] for row in rows_of(run)] == [f"p{n}" for n in range(ROWS)]
    assert all(row["completion"] is not None for row in rows_of(run))
