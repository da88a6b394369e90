"""The pool on a real Ray: a poison row costs one row, and a run that was stopped goes on where it was."""

from pathlib import Path

import pytest

from handoff.artifact import Artifact
from handoff.errors import EngineUnavailable
from handoff.store import Store
from handoff.working import Working
from inference.config import InferenceConfig
from inference.pipeline import Task, answer_all
from inference.prompt_rows import PromptRows
from inference.prompts import publish_prompts
from inference.shards import Answers
from inference.summary import Summary
from inference.text_stages import ModelReference
from tests.inference.poison import KILL, RAISE, Killing, Raising
from tests.inference.support import complete, publish_models, write_prompts

ROWS = 40


@pytest.fixture
def task(store: Store, tiny_model: Path, tiny_corpus: Artifact, tmp_path: Path) -> Task:
    """Forty prompts for the tiny model, in shards of ten."""
    _, tuned = publish_models(store, tiny_model, tiny_corpus)
    uri = write_prompts(tmp_path / "asked.jsonl", ROWS)
    config = InferenceConfig(prompts=uri, max_new_tokens=4, window_rows=10, num_actors=2)
    answers = Answers(Working.of(store, "predictions", {}, []), "answers")
    rows = PromptRows.of(publish_prompts(store, config, None))
    return Task(rows, ModelReference.of(tuned), None, config, answers)


def written(task: Task) -> dict[str, tuple[str | None, str | None]]:
    """Completion and error of each row by id, in the order of the shards; none is there twice."""
    rows = [row for shard in task.answers.done() for row in task.answers.read(shard)[0].to_pylist()]
    assert [row["position"] for row in rows] == list(range(ROWS))
    return {row["id"]: (row["completion"], row["error"]) for row in rows}


def expected(task: Task, bad: tuple[str, ...] = ()) -> dict[str, str | None]:
    """What this process answers, row by row; None for the bad ones."""
    rows = complete(task.model, task.prompts.read(0, ROWS), task.config, 1).to_pylist()
    return {row["id"]: None if row["id"] in bad else row["completion"] for row in rows}


def test_rows_on_which_the_model_raises_cost_themselves_alone(ray_cluster: None, task: Task) -> None:
    told: list[Summary] = []
    assert answer_all(task, told.append, Raising) == 0
    rows = written(task)
    assert {name: text for name, (text, _) in rows.items()} == expected(task, RAISE)
    assert {name: why for name, (_, why) in rows.items() if why} == dict.fromkeys(
        RAISE, "IndexError: token 999 is not in the vocabulary"
    )
    assert sum(s.failed for s in told) == len(RAISE) and len(told) == 4


def test_a_run_that_was_stopped_answers_only_what_is_left(ray_cluster: None, task: Task) -> None:
    told: list[Summary] = []

    def stop_after_two(summary: Summary) -> None:
        told.append(summary)
        if len(told) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answer_all(task, stop_after_two)
    before = {(s.start, s.stop) for s in task.answers.done()}
    assert before >= {(s.start, s.stop) for s in told}
    again: list[Summary] = []
    answer_all(task, again.append)
    assert not {(s.start, s.stop) for s in again} & before
    assert {name: text for name, (text, _) in written(task).items()} == expected(task)


def test_an_error_of_loading_the_model_ends_the_stage_with_its_own_words(ray_cluster: None, task: Task) -> None:
    missing = ModelReference(task.model.storage, "model-0123456789abcdef")
    with pytest.raises(Exception, match="so the artifact does not exist"):
        answer_all(Task(task.prompts, missing, None, task.config, task.answers), print)


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_row_that_kills_its_actor_costs_itself_alone(ray_cluster: None, task: Task) -> None:
    restarts = answer_all(task, lambda _: None, Killing)
    rows = written(task)
    assert {name: text for name, (text, _) in rows.items()} == expected(task, RAISE + KILL)
    assert rows["p21"][1] == "the model's process died on this row 2 times"
    assert restarts == 3  # its batch of ten, then alone twice


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_deaths_are_bounded_and_the_next_attempt_knows_of_them(ray_cluster: None, task: Task) -> None:
    few = Task(task.prompts, task.model, None, task.config.model_copy(update={"max_actor_restarts": 1}), task.answers)
    with pytest.raises(EngineUnavailable, match=r"replicas died again and again .*max_actor_restarts is 1"):
        answer_all(few, lambda _: None, Killing)
    answer_all(task, lambda _: None, Killing)
    assert {name: text for name, (text, _) in written(task).items()} == expected(task, RAISE + KILL)
