"""What an engine wrapped is told by its innermost cause; the kind of that decides whether anything is tried again."""

import concurrent.futures
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from handoff.causes import Cause, cause_of, safe_text
from handoff.errors import ArtifactError, ConfigError, EngineUnavailable, SourceError


def caught(raise_: Any) -> BaseException:
    try:
        raise_()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def raising(error: BaseException, source: BaseException | None = None) -> Any:
    def raise_() -> None:
        raise error from source

    return raise_


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (ConfigError("a. Remedy: b"), "user", "a. Remedy: b"),
        (EngineUnavailable("no Ray"), "outside", "no Ray"),
        (IndexError("index out of range in self"), "user", "IndexError: index out of range in self ("),
        (KeyError("q_proj"), "user", "KeyError: 'q_proj' ("),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "user", "UnicodeDecodeError: "),
        (Exception("a tokenizer written in Rust"), "user", "Exception: a tokenizer"),
        (RuntimeError("anything"), "unknown", "RuntimeError: anything ("),
        (RuntimeError("[gloo] Connection closed by peer [10.0.0.1]"), "outside", "RuntimeError: [gloo]"),
        (Exception("API request failed: Max retries exceeded with url: /api"), "outside", "Exception: API"),
        (
            OSError("in bucket 'b': AWS Error NETWORK_CONNECTION during HeadObject operation: curlCode: 28"),
            "outside",
            "OSError: in",
        ),
        (OSError("in bucket 'b': AWS Error ACCESS_DENIED during HeadObject operation"), "unknown", "OSError: in"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "outside", "ConnectionRefusedError: "),
        (MemoryError(), "outside", "MemoryError (tests/handoff/test_causes.py, line "),
        (OSError(errno.ENOSPC, "No space left on device"), "unknown", "OSError: "),
        (ExceptionGroup("two", [RuntimeError("x"), ValueError("mine")]), "user", "ValueError: mine"),
    ],
)
def test_kinds(error: BaseException, kind: str, sentence: str) -> None:
    found = cause_of(caught(raising(error)))
    assert found.kind == kind and found.sentence.startswith(sentence)


def test_the_place_is_the_last_line_that_is_not_a_librarys() -> None:
    import json

    found = cause_of(caught(lambda: json.loads("{")))
    assert "(tests/handoff/test_causes.py, line " in found.sentence and "JSONDecodeError" in found.sentence


def test_an_error_on_the_way_out_does_not_hide_the_one_before() -> None:
    def body() -> None:
        try:
            raise SourceError("the file is gone. Remedy: fetch it")
        finally:
            os.rmdir("/nowhere/at/all")

    assert cause_of(caught(body)).sentence == "the file is gone. Remedy: fetch it"


def test_what_was_translated_on_purpose_stays_as_it_is() -> None:
    assert cause_of(caught(raising(ValueError("no target q"), KeyError("q")))).sentence.startswith(
        "ValueError: no target q"
    )


def test_a_process_pools_text_is_not_taken_for_the_cause() -> None:
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        error = caught(lambda: pool.submit(int, "x").result())
    assert (
        cause_of(error).sentence.startswith("ValueError: invalid literal for int()") and cause_of(error).kind == "user"
    )


# -- Ray, for real


@pytest.fixture(scope="module")
def ray(ray_cluster: None) -> Any:
    import ray

    return ray


def raised_in_ray(ray: Any, how: str, error: BaseException) -> Cause:
    """The cause of what this process gets when ``error`` is raised in a task, an actor or a data stage."""

    @ray.remote(num_cpus=0)
    class Actor:
        def __init__(self, at_once: bool) -> None:
            if at_once:
                raise error

        def work(self) -> None:
            raise error

    class Stage:
        def __init__(self, at_once: bool) -> None:
            if at_once:
                raise error

        def __call__(self, batch: Any) -> Any:
            raise error

    def run() -> None:
        if how == "task":
            ray.get(ray.remote(num_cpus=0)(raising(error)).remote())
        elif how.startswith("actor"):
            ray.get(Actor.remote(how == "actor start").work.remote())
        else:
            context = ray.data.DataContext.get_current()
            context.max_consecutive_actor_init_deaths = 0
            pool = ray.data.ActorPoolStrategy(size=1)
            at_once = how == "stage start"
            ray.data.range(2).map_batches(Stage, fn_constructor_args=(at_once,), compute=pool, num_cpus=0.1).take_all()

    return cause_of(caught(run))


HOW = ["task", "actor", "actor start", "stage", "stage start"]


@pytest.mark.parametrize("how", HOW)
def test_the_cause_is_told_through_all_that_ray_puts_around_it(ray: Any, how: str) -> None:
    found = raised_in_ray(ray, how, IndexError("index out of range in self"))
    assert found.sentence.startswith("IndexError: index out of range in self (tests/handoff/test_causes.py, line ")
    assert found.kind == "user"


@pytest.mark.parametrize("how", HOW)
def test_our_own_errors_come_through_as_they_are(ray: Any, how: str) -> None:
    error = ArtifactError("model-1", ["this is no model"], "give the id of a model artifact")
    assert raised_in_ray(ray, how, error).sentence == str(error)


def test_what_died_may_be_tried_again(ray: Any) -> None:
    @ray.remote(num_cpus=0, max_restarts=0)
    class Dying:
        def work(self) -> None:
            os._exit(1)

    found = cause_of(caught(lambda: ray.get(Dying.remote().work.remote())))
    assert found.kind == "outside" and found.sentence.startswith("ActorDiedError: The actor died unexpectedly")


def test_of_several_training_workers_the_one_that_the_user_can_mend_speaks(tmp_path: Path) -> None:
    from ray.train import WorkerGroupError
    from ray.train.v2._internal.exceptions import UserExceptionWithTraceback

    lost = UserExceptionWithTraceback(RuntimeError("[gloo] Connection closed by peer"), "Traceback …")
    mine = UserExceptionWithTraceback(ValueError("Target modules {'x'} not found in the base model"), "Traceback …")
    assert cause_of(WorkerGroupError("two failed", {0: lost, 1: mine})).sentence.startswith(
        "ValueError: Target modules"
    )
    assert cause_of(WorkerGroupError("one failed", {0: lost})).kind == "outside"


# -- texts


class Unspeakable:
    def __str__(self) -> str:
        raise KeyboardInterrupt


@pytest.mark.parametrize("value", ["\ud800", "a\0b", "x" * 10_000_000, b"\xff", Unspeakable(), None, 3.5])
def test_any_value_becomes_a_text_that_can_be_written(value: object) -> None:
    text = safe_text(value)
    assert len(text.encode("utf-8")) < 9000 and "\0" not in text
