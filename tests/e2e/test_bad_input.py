"""What users get wrong, through the real DAG: the task that fails says the thing and the remedy, at once, for good.

Each case asserts which task failed, that it was tried once, what the demo printed, and that nothing was published.
The plan finds most of it in seconds, before Spark or Ray are asked for anything.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.e2e.conftest import Baton

Conf = dict[str, Any]
Case = Callable[[Path, Path], tuple[Conf, list[str]]]


def nothing_there(here: Path, model: Path) -> tuple[Conf, list[str]]:
    conf = {"source": f"{here}/*.txt", "base_model": f"{here}/model", "prompts": f"{here}/prompts.jsonl"}
    return conf, [f"{here}/*.txt matches no file", f"base model {here}/model does not exist", "prompts.jsonl"]


def keys_and_ranges(here: Path, model: Path) -> tuple[Conf, list[str]]:
    conf = {"overrides": {"training": {"max_stepz": 1, "learning_rate": 7}, "corpus": {"passage_chars": 1}}}
    return conf, ['"Learning rate"', "training.max_stepz", "max_steps", "corpus.passage_chars"]


def binary_text_and_no_causal_model(here: Path, model: Path) -> tuple[Conf, list[str]]:
    (here / "a.txt").write_text("good enough\n" * 50)
    (here / "b.txt").write_bytes(bytes(range(256)) * 8)
    other = here / "encoder"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"architectures": ["BertForMaskedLM"]}))
    conf = {"source": f"{here}/*.txt", "base_model": str(other)}
    return conf, ["b.txt is binary", "no causal language model (architecture: BertForMaskedLM)"]


def parquet_of_another_schema(here: Path, model: Path) -> tuple[Conf, list[str]]:
    pq.write_table(pa.table({"body": ["x"]}), here / "a.parquet")
    pq.write_table(pa.table({"text": [1]}), here / "b.parquet")
    (here / "c.parquet").write_bytes(b"PAR1 cut short")
    conf = {"source": f"{here}/*.parquet", "base_model": str(model)}
    return conf, [
        "a.parquet has no column 'text', but body",
        "b.parquet: column 'text' is int64",
        "c.parquet is not re",
    ]


def package_with_another_sha256(here: Path, model: Path) -> tuple[Conf, list[str]]:
    conf = {"base_model": str(model), "overrides": {"corpus": {"source": {"sha256": "0" * 64}}}}
    return conf, ["sha256", "0" * 64]


def everything_filtered(here: Path, model: Path) -> tuple[Conf, list[str]]:
    (here / "a.txt").write_text("1234 5678\n\n" * 40)
    return {"source": f"{here}/*.txt", "base_model": str(model)}, [
        "nothing is left of 1 documents (too_few_letters: 1)"
    ]


def more_workers_than_the_cluster_has(here: Path, model: Path) -> tuple[Conf, list[str]]:
    conf = {"base_model": str(model), "num_workers": 64, "overrides": {"inference": {"num_actors": 48}}}
    return conf, ["needs 64 workers x 1 CPU", 'lower "Training workers"', "needs 48 actors x 1 CPU"]


@pytest.mark.parametrize(
    ("case", "task"),
    [
        (nothing_there, "plan"),
        pytest.param(keys_and_ranges, "plan", marks=pytest.mark.faults),
        pytest.param(binary_text_and_no_causal_model, "plan", marks=pytest.mark.faults),
        pytest.param(parquet_of_another_schema, "plan", marks=pytest.mark.faults),
        pytest.param(package_with_another_sha256, "plan", marks=pytest.mark.faults),
        pytest.param(everything_filtered, "corpus", marks=pytest.mark.faults),
        pytest.param(more_workers_than_the_cluster_has, "plan", marks=pytest.mark.faults),
    ],
)
def test_the_task_says_the_thing_and_the_remedy(
    case: Case, task: str, baton: Baton, tmp_path: Path, tiny_model: Path
) -> None:
    conf, expected = case(tmp_path, tiny_model)
    before = published(baton)
    ran = baton.run({"preset": "tiny", **conf})
    assert ran.code == 1
    states = {t["task_id"]: t for t in baton.api().task_instances("spark_to_ray", ran.run_id)}
    assert states[task]["state"] == "failed"
    assert states[task]["try_number"] == 1 < states[task]["max_tries"], "what a user must fix is not tried again"
    log = baton.api().task_log("spark_to_ray", ran.run_id, task)
    for words in expected:
        assert words in ran.printed or words in log, (words, ran.printed)
    assert "Remedy: " in ran.printed and "Traceback" not in ran.printed
    assert published(baton) == before
    if task == "plan":
        assert states["report"]["state"] == "failed" and not Path(ran.directory.uri).exists()


def published(baton: Baton) -> set[Path]:
    """Every file in the store, but for the notes of which raw files were looked at."""
    return {p for p in (baton.home / "artifacts").rglob("*") if p.is_file() and "raw" not in p.parts}
