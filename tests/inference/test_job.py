"""The predict stage on a real Ray: every prompt a row, the same texts on any number of actors, failures that end."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engines.ray import require_room
from handoff.artifact import Artifact, open_artifact
from handoff.errors import CapacityError, ConfigError, TooManyErrors
from handoff.facts import PredictionFacts
from handoff.publish import staging
from handoff.run_dir import RunDir
from handoff.store import Store
from handoff.verify import verify_chain
from inference.config import InferenceConfig
from inference.openings import MODERN
from inference.prompt_rows import PromptRows
from inference.text_stages import ModelReference
from tests.inference.support import complete, make_run, publish_models, rows_of, run_predict


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
    config = InferenceConfig(held_out_prompts=3, opening_words=6, baseline_prompts=5, max_new_tokens=8, num_actors=2)
    run = make_run(tmp_path / "run", store, tuned, config)
    with caplog.at_level("INFO", logger="baton"):
        record = run_predict(run)
    rows = rows_of(run)
    assert [r["source"] for r in rows] == ["held-out"] * 3 + ["modern"] * 12
    assert [r["prompt"] for r in rows[3:]] == list(MODERN)
    assert all(r["error"] is None and r["completion"] is not None for r in rows)
    assert [i for i, r in enumerate(rows) if r["baseline"] is not None] == [0, 3, 6, 9, 12]
    assert [r["completion"] for r in rows] == one_by_one(tuned, asked_of(run), config)
    assert any(r["baseline"] != r["completion"] for r in rows if r["baseline"] is not None)

    predictions = run.artifact("predict")
    prompts = predictions.manifest.parent("prompts")
    assert [p.id for p in predictions.manifest.parents] == [tuned.id, base.id, prompts]
    assert not list(store.files(f"predictions/{predictions.id}/work")), "what is published needs no shards any more"
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
        prompts=str(file), baseline_prompts=0, max_new_tokens=8, max_prompt_tokens=100, window_rows=3
    )
    run = make_run(tmp_path / "run", store, tuned, config)
    record = run_predict(run)
    rows = rows_of(run)
    assert [r["id"] for r in rows] == [str(i) for i in range(7)]
    assert [r["error"] is None for r in rows] == [True] * 5 + [False] * 2
    assert {r["source"] for r in rows} == {"asked.jsonl"} and {r["baseline"] for r in rows} == {None}
    assert record.metrics["errors"] == 2
    assert [p.id.split("-")[0] for p in run.artifact("predict").manifest.parents] == ["model", "prompts"]
    assert [r["completion"] for r in rows] == one_by_one(tuned, asked_of(run), config)


def one_by_one(model: Artifact, table: pa.Table, config: InferenceConfig) -> list[str | None]:
    """The completions that this process makes of each prompt alone."""
    return complete(ModelReference.of(model), table, config, 1)["completion"].to_pylist()


def asked_of(run: RunDir) -> pa.Table:
    """The prompts of a run's predictions."""
    artifact = open_artifact(run.store, str(run.artifact("predict").manifest.parent("prompts")))
    rows = PromptRows.of(artifact)
    return rows.read(0, rows.count)


def test_several_answers_to_each_prompt_with_stop_texts_and_carried_columns(
    ray_cluster: None, store: Store, models: tuple[Artifact, Artifact], tmp_path: Path
) -> None:
    ids = [str(n) for n in range(20)]
    asked = pa.table({"key": ids, "line": [*MODERN[:9], "", *MODERN[:10]], "year": range(1590, 1610)})
    pq.write_table(asked, tmp_path / "asked.parquet")
    config = InferenceConfig(
        prompts=str(tmp_path / "asked.parquet"), id_column="key", prompt_column="line", carry=("year",),
        template="In {year}: {prompt}", baseline_prompts=4, max_new_tokens=6, n=2, stop=("e",), logprobs=True,
        window_rows=9,
    )  # fmt: skip
    run = make_run(tmp_path / "run", store, models[1], config)
    run_predict(run)
    rows = rows_of(run)
    good = [r for r in rows if r["error"] is None]
    assert [(r["id"], r["sample"]) for r in rows] == [(i, n) for i in ids for n in range(1 if i == "9" else 2)]
    assert [r["year"] for r in rows[::2]] == [1590 + int(r["id"]) for r in rows[::2]]
    assert all(r["rendered"] == f"In {r['year']}: {r['prompt']}" and "e" not in r["completion"] for r in good)
    assert all(len(r["logprobs"]) == r["completion_tokens"] and max(r["logprobs"]) <= 0 for r in good)
    assert [r["id"] for r in rows if r["baseline"] is not None] == [i for i in ("0", "5", "10", "15") for _ in "01"]
    facts = run.artifact("predict").manifest.facts
    assert facts["errors_by_cause"] == {"the prompt is empty": 1} and sum(facts["finish_reasons"].values()) == 38
    assert sum(facts["completion_lengths"].values()) == 38 and sum(facts["prompt_lengths"].values()) == 20


def test_too_many_errors_end_the_stage_with_the_first_causes(
    ray_cluster: None, store: Store, models: tuple[Artifact, Artifact], tmp_path: Path
) -> None:
    file = tmp_path / "asked.jsonl"
    file.write_text("".join(json.dumps({"id": f"q{i}", "prompt": " " if i % 2 else "To be"}) + "\n" for i in range(64)))
    config = InferenceConfig(prompts=str(file), baseline_prompts=0, max_new_tokens=2, window_rows=4, max_errored_rows=3)
    run = make_run(tmp_path / "run", store, models[1], config)
    with pytest.raises(
        TooManyErrors, match=r"4 of 64 prompts.*bears 3: 4 x the prompt is empty. First: q\d+: the prompt"
    ):
        run_predict(run)
    assert run.record("predict").retry_helps is False
    run = make_run(tmp_path / "again", store, models[1], config.model_copy(update={"max_errored_rows": None}))
    record = run_predict(run)
    assert record.metrics["errors"] == 32 and record.metrics["resumed_rows"] > 0
    with pytest.raises(TooManyErrors, match="32 of 64 prompts have an error"):  # published predictions are judged too
        run_predict(make_run(tmp_path / "strict", store, models[1], config))


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


def test_a_model_without_an_end_token_is_refused_before_anything_starts(
    store: Store, tiny_model: Path, tmp_path: Path
) -> None:
    with staging(store, "model", {"source": "endless"}, []) as place:
        shutil.copytree(tiny_model, place.uri(), dirs_exist_ok=True)
        for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
            file = Path(place.uri(name))
            settings = json.loads(file.read_text())
            file.write_text(json.dumps({k: v for k, v in settings.items() if not k.startswith("eos_token")}))
        model = place.publish()
    run = make_run(tmp_path / "run", store, model, InferenceConfig(held_out_prompts=0, baseline_prompts=0))
    with pytest.raises(ConfigError, match=r"names no end-of-sequence token\. Remedy: set eos_token"):
        run_predict(run)
    assert not list(store.files("prompts"))
