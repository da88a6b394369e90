"""The task ``score``: log-likelihoods as plain transformers computes them, through the shards that answers go through."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from handoff import schema
from handoff.artifact import Artifact
from handoff.errors import ConfigError, SourceError
from handoff.facts import PredictionFacts, facts_of
from handoff.model_files import model_directory
from handoff.store import Store
from handoff.tokenizer import ModelTokenizer
from handoff.working import Working
from inference.config import InferenceConfig
from inference.pipeline import Task, answer_all
from inference.prompt_rows import PromptRows
from inference.prompts import check_prompts, publish_prompts
from inference.shards import Answers
from inference.summary import Summary
from inference.text_stages import ModelReference, Renderer
from tests.inference.poison import POISON, Raising
from tests.inference.support import make_run, prompt_table, publish_models, rows_of, run_predict
from tests.support import VERSES

ROWS = 24
BAD = {5: None, 11: "", 17: f"as {POISON}"}


@pytest.fixture
def models(store: Store, tiny_model: Path, tiny_corpus: Artifact) -> tuple[Artifact, Artifact]:
    return publish_models(store, tiny_model, tiny_corpus)


def pairs(count: int, bad: dict[int, str | None] | None = None) -> list[dict[str, Any]]:
    """Prompts with completions of several lengths; ``bad`` replaces completions."""
    rows = []
    for n in range(count):
        words = VERSES[n % len(VERSES)].split()
        given = " " + " ".join(words[2 : 4 + n % 5])
        rows.append(
            {"id": f"p{n}", "prompt": " ".join(words[:2]), "answer": (bad or {}).get(n, given), "year": 1590 + n}
        )
    return rows


def jsonl(file: Path, rows: list[dict[str, Any]]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def config(uri: str, **values: Any) -> InferenceConfig:
    given: dict[str, Any] = {"task": "score", "completion_column": "answer", "baseline_prompts": 0, "window_rows": 6}
    return InferenceConfig(prompts=uri, **(given | values))


def plainly(directory: str, prompt: str, completion: str) -> list[float]:
    """Log-probability of each token of a completion, by transformers alone, a row at a time and without padding."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(directory).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(directory)
    given, whole = tokenizer(prompt)["input_ids"], tokenizer(prompt + completion)["input_ids"]
    assert whole[: len(given)] == given
    with torch.no_grad():
        chances = model(input_ids=torch.tensor([whole])).logits[0].log_softmax(-1)
    return [float(chances[at - 1, whole[at]]) for at in range(len(given), len(whole))]


def test_scores_are_those_of_plain_transformers_and_bad_rows_cost_themselves(
    ray_cluster: None, store: Store, models: tuple[Artifact, Artifact], tmp_path: Path
) -> None:
    base, tuned = models
    asked = config(
        jsonl(tmp_path / "pairs.jsonl", pairs(ROWS, {5: None, 11: ""})), logprobs=True, carry=("year",),
        template="In {year}: {prompt}", baseline_prompts=4,
    )  # fmt: skip
    run = make_run(tmp_path / "run", store, tuned, asked)
    record = run_predict(run)
    rows = rows_of(run)
    assert list(rows[0]) == [*schema.SCORES.names, "year"] and [r["id"] for r in rows] == [f"p{n}" for n in range(ROWS)]
    assert {n: r["error"] for n, r in enumerate(rows) if r["error"]} == dict.fromkeys(
        (5, 11), "the completion is empty"
    )
    assert rows[5]["log_likelihood"] is None and rows[5]["logprobs"] is None
    for row in rows[:5] + rows[-2:]:
        expected = plainly(model_directory(tuned), row["rendered"], row["completion"])
        assert row["rendered"] == f"In {row['year']}: {row['prompt']}"
        assert row["logprobs"] == pytest.approx(expected, abs=1e-5)
        assert row["log_likelihood"] == pytest.approx(sum(expected), abs=1e-5)
        assert row["completion_tokens"] == len(expected) == len(row["logprobs"])
    of_base = {n: r["baseline_log_likelihood"] for n, r in enumerate(rows) if r["baseline_log_likelihood"] is not None}
    assert set(of_base) == {0, 6, 12, 18}
    one = rows[6]
    assert of_base[6] == pytest.approx(
        sum(plainly(model_directory(base), one["rendered"], one["completion"])), abs=1e-5
    )

    facts = facts_of(run.artifact("predict").manifest, PredictionFacts)
    scored = [r for r in rows if r["error"] is None]
    assert facts.task == "score" and facts.errors == 2
    assert facts.completion_tokens == sum(r["completion_tokens"] for r in scored)
    assert facts.log_likelihood == pytest.approx(sum(r["log_likelihood"] for r in scored), abs=1e-6)
    assert "24 completions scored, 2 with an error" in record.headline
    assert [p.name for p in record.phases] == ["baseline", "score", "publish"]

    chosen = asked.model_copy(update={"temperature": 0, "seed": 3})
    assert run_predict(make_run(tmp_path / "again", store, tuned, chosen)).reused, "sampling chooses nothing here"


def scores(task: Task) -> dict[str, tuple[float | None, str | None]]:
    rows = [row for shard in task.answers.done() for row in task.answers.read(shard)[0].to_pylist()]
    assert [row["position"] for row in rows] == list(range(ROWS)), "each row once, in order"
    return {row["id"]: (row["log_likelihood"], row["error"]) for row in rows}


def test_scoring_goes_on_after_a_stop_and_a_poison_row_costs_itself_alone(
    ray_cluster: None, store: Store, models: tuple[Artifact, Artifact], tmp_path: Path
) -> None:
    asked = config(jsonl(tmp_path / "pairs.jsonl", pairs(ROWS, BAD)))
    answers = Answers(Working.of(store, "predictions", {}, []), "answers")
    rows = PromptRows.of(publish_prompts(store, asked, None))
    task = Task(rows, ModelReference.of(models[1]), None, asked, answers)
    told: list[Summary] = []

    def stop_after_one(summary: Summary) -> None:
        told.append(summary)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answer_all(task, stop_after_one, Raising)
    before = {(s.start, s.stop) for s in task.answers.done()}
    again: list[Summary] = []
    answer_all(task, again.append, Raising)
    assert before and not {(s.start, s.stop) for s in again} & before
    found = scores(task)
    assert {name: why for name, (_, why) in found.items() if why} == {
        "p5": "the completion is empty",
        "p11": "the completion is empty",
        "p17": "IndexError: token 999 is not in the vocabulary",
    }
    assert found["p17"][0] is None
    for row in pairs(ROWS)[16:20:2]:  # of the poison row's batch and of another
        expected = plainly(task.model.directory(), row["prompt"], row["answer"])
        assert found[row["id"]][0] == pytest.approx(sum(expected), abs=1e-5)


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        ([{"id": 1, "prompt": "a"}], "line 1: not an object with id and prompt and answer"),
        ([{"id": 1, "prompt": "a", "answer": 7}], "line 1: answer is 7, not a string"),
        ([{"id": 1, "prompt": "a", "answer": "b\ud83d"}], r"answer holds \ud83d at character 2"),
    ],
)
def test_each_fault_of_a_completion_in_json_lines_is_named(rows: list[Any], cause: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError) as error:
        check_prompts(config(jsonl(tmp_path / "p.jsonl", rows)))
    assert cause in str(error.value) and "Remedy" in str(error.value)


def test_completions_of_another_type_or_source_are_refused(store: Store, tiny_corpus: Artifact, tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"], "prompt": ["b"], "answer": [1]}), tmp_path / "p.parquet")
    with pytest.raises(SourceError, match="column answer holds int64, not strings"):
        check_prompts(config(str(tmp_path / "p.parquet")))
    with pytest.raises(SourceError, match="no column other"):
        check_prompts(config(str(tmp_path / "p.parquet"), completion_column="other"))
    with pytest.raises(SourceError, match=r"no column completion \(it has row_id, doc_id, position, text\)"):
        check_prompts(config(tiny_corpus.directory, completion_column=None))
    with pytest.raises(ConfigError, match="the task score needs completions"):
        check_prompts(InferenceConfig(task="score"))


@pytest.mark.parametrize(
    "values",
    [
        {"completion_column": "answer"},
        {"task": "score", "n": 2},
        {"task": "score", "stop": ("x",)},
        {"task": "score", "completion_column": "answer", "template": "{answer} {prompt}"},
    ],
)
def test_settings_of_the_other_task_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="score"):
        InferenceConfig(**values)


def test_a_completion_is_tokenised_after_its_prompt_and_too_long_ones_are_refused(tiny_model: Path) -> None:
    render = Renderer.of(str(tiny_model), InferenceConfig(task="score", max_new_tokens=8), None)
    given = ["a summer's day?", "thee " * 40, "x" * 10_000_000, " "]
    rows = render(prompt_table("Shall I compare thee to ", "b", "c", "d", completion=given)).to_pylist()
    tokenizer = ModelTokenizer.of_directory(tiny_model)
    ((whole, at),) = tokenizer.pairs(["Shall I compare thee to "], given[:1], end=False)
    assert rows[0]["prompt_ids"] == whole[:at] and rows[0]["completion_ids"] == whole[at:]
    assert "tokens, the limit is 8 (max_new_tokens)" in rows[1]["error"] and rows[1]["completion_ids"] is None
    assert "the completion has 10000000 characters" in rows[2]["error"] and rows[2]["prompt_ids"] is None
    assert rows[3]["error"] is None and rows[3]["completion_ids"]
