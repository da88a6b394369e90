"""Shards and tries, without a cluster: what is left is found whatever was written, and a killing row is closed in on."""

import pickle

import pytest

from handoff.errors import ArtifactError
from handoff.store import Store
from handoff.working import Working
from inference.attempts import DEATHS_ALONE, Attempts, Starts, pieces, restarts
from inference.config import InferenceConfig
from inference.generator import failure, unusable
from inference.shards import Answers, Shard, remaining, shard_rows
from inference.summary import Summary, cause, pool_use, throughput


@pytest.fixture
def answers(store: Store) -> Answers:
    return Answers(Working.of(store, "predictions", {"a": 1}, []), "answers")


@pytest.mark.parametrize(
    ("rows", "actors", "expected"), [(24, 2, 12), (24, 1, 24), (5, 2, 3), (1, 4, 1), (480, 2, 120), (10**6, 2, 512)]
)
def test_shards_are_even_and_many_where_rows_are_many(rows: int, actors: int, expected: int) -> None:
    assert shard_rows(rows, InferenceConfig(num_actors=actors)) == expected


def test_what_is_left_is_cut_at_the_same_places_whatever_is_written() -> None:
    done = [Shard(0, 4), Shard(6, 8), Shard(12, 13)]
    left = remaining(done, 15, 4)
    assert left == [Shard(4, 6), Shard(8, 12), Shard(13, 15)]
    assert sorted(n for s in [*done, *left] for n in range(s.start, s.stop)) == list(range(15))
    assert remaining([Shard(0, 15)], 15, 4) == []


def test_shards_of_two_sizes_that_overlap_count_once(answers: Answers) -> None:
    for start, stop in ((0, 4), (0, 8), (4, 8), (6, 10), (8, 12)):
        answers.working.write(f"answers/rows/{Shard(start, stop).name}.parquet", b"")
    answers.working.write("answers/rows/.000000000012-000000000016.parquet.torn", b"")
    assert answers.done() == [Shard(0, 8), Shard(8, 12)]


def test_a_row_that_kills_is_found_in_four_deaths_and_a_death_alone_may_be_an_accident(answers: Answers) -> None:
    """Plays an actor that dies whenever row 37 is in its batch."""
    deaths, died = 0, True
    answered: set[int] = set()
    while died and deaths < 20:
        attempts, died = Attempts.of(answers, "shard"), False
        first = {n for rows in attempts.suspects for n in rows}
        rest = [n for n in range(64) if n not in first and n not in attempts.given_up]
        for rows in [*attempts.suspects, rest]:
            attempts.begin(rows)
            if died := 37 in rows:
                deaths += 1
                break
            answered |= set(rows)
    assert deaths == 2 + DEATHS_ALONE and attempts.given_up == {37: DEATHS_ALONE}
    assert answered == set(range(64)) - {37}
    attempts.end()
    assert Attempts.of(answers, "shard").given_up == {37: DEATHS_ALONE} and restarts(answers) == deaths
    untroubled = Attempts.of(answers, "another")
    untroubled.begin([0])
    untroubled.end()
    assert restarts(answers) == deaths


def test_a_batch_is_cut_into_pieces_that_lose_no_row() -> None:
    for size in (1, 2, 16, 17, 64, 513):
        rows = list(range(size))
        assert [n for piece in pieces(rows) for n in piece] == rows
    assert {len(piece) for piece in pieces(list(range(16)))} == {1} and len(pieces(list(range(64)))[0]) == 8


def test_deaths_while_loading_are_counted_over_processes(answers: Answers) -> None:
    assert [Starts(answers, "a").begin() for _ in range(3)] == [0, 1, 2]
    good = Starts(answers, "b")
    good.begin()
    good.loaded()
    assert Starts(answers, "b").begin() == 0


def test_after_a_device_error_the_process_ends_but_not_for_want_of_memory() -> None:
    out_of_memory = type("OutOfMemoryError", (RuntimeError,), {})
    assert unusable(RuntimeError("CUDA error: device-side assert triggered"))
    assert not unusable(out_of_memory("CUDA out of memory")) and not unusable(IndexError("index out of range"))


class Untold(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


def test_a_workers_error_reaches_the_driver_as_it_is() -> None:
    for error in (OSError(28, "No space left on device"), ArtifactError("model-1", ["it is gone"], "rerun")):
        told = pickle.loads(failure(error)["failure"][0].as_py())
        assert (
            type(told) is type(error)
            and str(told) == str(error)
            and getattr(told, "errno", 0) == getattr(error, "errno", 0)
        )
    told = pickle.loads(failure(Untold("a", "b"))["failure"][0].as_py())  # which pickle cannot make anew
    assert str(told) == "Untold: ab"


def summary(begun: float, ended: float, tokens: int, actor: str = "a", **times: float) -> Summary:
    given = {"busy": ended - begun, "waited_input": 0.0, "waited_output": 0.0, **times}
    return Summary(
        start=0, stop=1, rows=1, errors={}, failed=0, first_error=None, tokens=tokens, begun=begun, ended=ended,
        actor=actor, **given,
    )  # fmt: skip


def test_throughput_leaves_out_the_time_between_a_kill_and_the_next_attempt() -> None:
    speeds, seconds = throughput([summary(0, 10, 100), summary(5, 10, 50, "b"), summary(1000, 1010, 300)])
    assert seconds == pytest.approx(20) and sum(speeds) * seconds / len(speeds) == pytest.approx(450, abs=1)
    assert speeds[-1] == pytest.approx(30, abs=0.1) and throughput([]) == ([], 0.0)


def test_throughput_counts_the_time_in_which_a_replica_waited_for_work() -> None:
    """The progress line counts it too: one speed, not two."""
    shards = [summary(0, 4, 100), summary(10, 14, 100, waited_input=5.0, waited_output=1.0)]
    speeds, seconds = throughput(shards)
    assert seconds == pytest.approx(14) and sum(speeds) * seconds / len(speeds) == pytest.approx(200, abs=1)


def test_the_pools_time_is_shared_out() -> None:
    shards = [summary(0, 4, 1), summary(6, 10, 1, waited_input=1.5, waited_output=0.5), summary(0, 10, 1, "b")]
    use = pool_use(shards)
    assert (use.computed, use.waited_for_input, use.waited_for_output) == (0.9, 0.075, 0.025)


def test_errors_that_differ_in_numbers_and_names_are_one_cause() -> None:
    assert cause("the prompt has 600 tokens, the limit is 512 (x)") == cause(
        "the prompt has 1,001 tokens, the limit is 5 (x)"
    )
    assert cause("KeyError: 'a'") == cause("KeyError: 'b'") != cause("IndexError: 'b'")
