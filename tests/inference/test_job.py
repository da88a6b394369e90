"""The predict stage on a real Ray: every prompt a row, the same texts on any number of actors, failures that end."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engines.ray import require_room
from handoff import schema
from handoff.artifact import Artifact
from handoff.errors import CapacityError, ConfigError
from handoff.facts import PredictionFacts
from handoff.run_dir import RunDir, StageRecord
from handoff.store import Store
from handoff.tokenizer import ModelTokenizer
from handoff.verify import verify_chain
from inference.config import InferenceConfig
from inference.generator import Generator
from inference.job import main_stage
from inference.pipeline import RETRIES, batch_rows, blocks_of, on_actors
from inference.prompts import MODERN, PROMPTS, load_prompts
from inference.text_stages import ModelReference, finish, render, render_arguments
from tests.inference.support import make_run, publish_models


def run_predict(run: RunDir) -> StageRecord:
    with run.stage("predict") as record:
        main_stage(run, record)
    return record


def rows_of(run: RunDir) -> list[dict]:
    predictions = run.artifact("predict", schema=schema.PREDICTIONS)
    return [row for file in predictions.files() for row in pq.read_table(file).to_pylist()]


@pytest.fixture
def models(store: Store, tiny_model: Path, tiny_corpus: Artifact) -> tuple[Artifact, Artifact]:
    return publish_models(store, tiny_model, tiny_corpus)


def test_predictions_of_the_default_prompts_on_two_actors(
    ray_cluster: None,
    store: Store,
    models: tuple[Artifact, Artifact],
    tiny_corpus: Artifact,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    base, tuned = models
    config = InferenceConfig(
        held_out_prompts=3, opening_words=6, baseline_prompts=5, max_new_tokens=8, batch_size=4, num_actors=2
    )
    run = make_run(tmp_path / "run", store, tuned, config)
    with caplog.at_level("INFO", logger="baton"):
        record = run_predict(run)
    rows = rows_of(run)
    assert [r["source"] for r in rows] == ["held-out"] * 3 + ["modern"] * 12
    assert [r["prompt"] for r in rows[3:]] == list(MODERN)
    assert all(r["error"] is None and r["completion"] is not None for r in rows)
    assert [i for i, r in enumerate(rows) if r["baseline"] is not None] == [0, 3, 6, 9, 12]
    assert [r["completion"] for r in rows] == one_by_one(tuned, load_prompts(config, tiny_corpus), config)
    assert any(r["baseline"] != r["completion"] for r in rows if r["baseline"] is not None)

    predictions = run.artifact("predict")
    corpus = next(p.id for p in tuned.manifest.parents if p.id.startswith("corpus-"))
    assert [p.id for p in predictions.manifest.parents] == [tuned.id, base.id, corpus]
    facts = predictions.manifest.facts
    assert set(facts) == set(PredictionFacts.model_fields), "a fact that is declared and never told"
    assert (facts["prompts"], facts["errors"], facts["baseline_prompts"], facts["model"]) == (15, 0, 5, tuned.id)
    assert facts["completion_tokens"] == sum(r["completion_tokens"] for r in rows) and facts["tokens_per_second"] > 0
    assert all(not link.problems for link in verify_chain(store, predictions.id))
    assert not record.reused and [p.name for p in record.phases] == ["baseline", "generate", "publish"]
    story = caplog.text
    assert "tuned model: 15/15 rows" in story and "sample 3" in story and predictions.directory in story
    assert len(story.splitlines()) < 40

    again = run_predict(run)  # other actors and batches are the same work: it is found
    assert again.reused and again.artifact == record.artifact


def test_a_prompt_file_keeps_every_row(
    ray_cluster: None, store: Store, models: tuple[Artifact, Artifact], tmp_path: Path
) -> None:
    _, tuned = models
    asked = [*MODERN[:5], "", "thee " * 200]
    file = tmp_path / "asked.jsonl"
    file.write_text("".join(json.dumps({"id": i, "prompt": p}) + "\n" for i, p in enumerate(asked)))
    config = InferenceConfig(
        prompts=str(file), baseline_prompts=0, max_new_tokens=8, max_prompt_tokens=100, batch_size=3
    )
    run = make_run(tmp_path / "run", store, tuned, config)
    record = run_predict(run)
    rows = rows_of(run)
    assert [r["id"] for r in rows] == [str(i) for i in range(7)]
    assert [r["error"] is None for r in rows] == [True] * 5 + [False] * 2
    assert {r["source"] for r in rows} == {"asked.jsonl"} and {r["baseline"] for r in rows} == {None}
    assert record.metrics["errors"] == 2
    assert [p.id.split("-")[0] for p in run.artifact("predict").manifest.parents] == ["model", "raw"]
    assert [r["completion"] for r in rows] == one_by_one(tuned, load_prompts(config, None), config)


def one_by_one(model: Artifact, prompts: pa.Table, config: InferenceConfig) -> list[str | None]:
    """The completions that this process makes of each prompt alone."""
    reference = ModelReference.of(model)
    tokenizer = ModelTokenizer.of_directory(reference.directory())
    generator = Generator(reference, tokenizer, config)
    arguments = render_arguments(tokenizer, config, None)
    batches = [generator(render(prompts.slice(i, 1), **arguments)) for i in range(len(prompts))]
    return [finish(batch, tokenizer, {})["completion"][0].as_py() for batch in batches]


class Crash:
    """Notes each start and kills its process at the row named poison, as native code does that runs out of memory."""

    def __init__(self, notes: str) -> None:
        self._notes = notes
        Path(notes, f"start-{os.getpid()}").touch()

    def __call__(self, batch: pa.Table) -> pa.Table:
        if "poison" in batch["id"].to_pylist():
            os._exit(1)
        return batch


class Refuse:
    """Raises at the row named poison."""

    def __call__(self, batch: pa.Table) -> pa.Table:
        if "poison" in batch["id"].to_pylist():
            raise IndexError("token 999 is not in the vocabulary")
        return batch


def _poisoned() -> pa.Table:
    return pa.table([["a", "b", "poison", "c"], ["x"] * 4, ["test"] * 4], schema=PROMPTS)


@pytest.mark.timeout(120)
def test_a_row_that_kills_its_actor_ends_the_job(ray_cluster: None, tmp_path: Path) -> None:
    from ray.exceptions import RayError

    dataset = on_actors(blocks_of(_poisoned(), 1), Crash, {"notes": str(tmp_path)}, actors=1, rows=1, cpus=1, gpus=0)
    with pytest.raises(RayError):
        dataset.take_all()
    assert len(list(tmp_path.glob("start-*"))) <= 1 + RETRIES


@pytest.mark.timeout(120)
def test_an_exception_in_the_model_stage_ends_the_job(ray_cluster: None) -> None:
    dataset = on_actors(blocks_of(_poisoned(), 1), Refuse, {}, actors=1, rows=1, cpus=1, gpus=0)
    with pytest.raises(Exception, match="token 999 is not in the vocabulary"):
        dataset.take_all()


def test_more_actors_than_the_cluster_can_hold_are_refused_at_once(ray_cluster: None) -> None:
    require_room(InferenceConfig(num_actors=4).actors)
    with pytest.raises(CapacityError, match=r"needs 5 actors x 1 CPU.*room for 4. Remedy: lower inference.num_actors"):
        require_room(InferenceConfig(num_actors=5).actors)
    with pytest.raises(CapacityError, match=r"room for 0"):
        require_room(InferenceConfig(use_gpu=True).actors)


def test_a_completion_longer_than_the_model_is_refused(
    store: Store, models: tuple[Artifact, Artifact], tmp_path: Path
) -> None:
    config = InferenceConfig(max_new_tokens=512, opening_words=6)
    with pytest.raises(ConfigError, match=r"max_new_tokens is 512, the model has 512 positions"):
        run_predict(make_run(tmp_path / "run", store, models[1], config))


@pytest.mark.parametrize(
    ("rows", "actors", "batch", "expected"), [(24, 2, 8, 6), (24, 1, 8, 8), (5, 2, 8, 3), (1, 4, 8, 1)]
)
def test_batches_are_even(rows: int, actors: int, batch: int, expected: int) -> None:
    assert batch_rows(rows, InferenceConfig(num_actors=actors, batch_size=batch)) == expected
