"""Runs of the training stages on the tiny model and a tiny corpus."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluation.config import EvaluationConfig
from handoff.run_dir import RunDir
from handoff.store import Store
from tests.support import publish_corpus
from training.config import BaseModelConfig, TrainingConfig

TINY: dict[str, Any] = {
    "method": "full", "seq_len": 32, "max_steps": 6, "learning_rate": 1e-3, "zero_stage": 3,
    "num_workers": 2, "cpus_per_worker": 1, "checkpoint_every_steps": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def make_run(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Callable[..., RunDir]:
    """``make_run("name", zero_stage=2)``: a run directory whose corpus stage is done; all share one store."""
    root = tmp_path_factory.mktemp("training")
    store = Store(str(root / "artifacts"))
    corpus = publish_corpus(store, root / "verses.txt", {"train": 64, "validation": 8, "test": 8}, files=2)

    def make(name: str, evaluation: dict[str, Any] | None = None, **training: Any) -> RunDir:
        base = BaseModelConfig(source=str(tiny_model))
        config = TrainingConfig(**{"base": base, **TINY, **training})
        evaluated = EvaluationConfig(**{"num_actors": 1, "max_passages": 4, **(evaluation or {})})
        run = RunDir(str(root / "runs" / name))
        sections = {"training": config, "evaluation": evaluated}
        run.create(store.root, {k: v.model_dump(mode="json") for k, v in sections.items()})
        with run.stage("corpus") as record:
            record.artifact = corpus.id
        return run

    return make
