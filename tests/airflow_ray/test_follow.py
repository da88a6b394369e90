"""The follower, branch by branch, over a scripted client; tests/e2e/test_ray_operator.py follows real jobs."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from airflow_ray import follow
from airflow_ray.errors import RayJobLost, RayUnreachable
from airflow_ray.follow import FRUITLESS_CONNECTIONS, LINE_CHARACTERS, STATE_DUMP, TAIL_LINES, Follower

HANGS = object()  # in a stream: no more comes, and the connection stays
LATER = object()  # in a stream: more comes after the job has ended and its whole log was asked for
AWAY = RayUnreachable("no answer")


class Client:
    """A cluster with one job, scripted.

    Args:
        streams: what each connection to the log sends, in turn: texts, an error, HANGS. Later ones send the last again.
        states: what each look at the job finds, in turn: a status, None, an error. The last one stays; the job does not
            go on to it before ``read`` characters of the log have arrived.
        whole: what the request for the whole log answers.
        read: see states.
    """

    def __init__(self, streams: list[list[Any]], states: list[Any], whole: Any = None, read: int = 0) -> None:
        self.streams, self.states, self.whole, self.read = streams, states, whole, read
        self.connections = self.looks = self.sent = 0
        self.asked = False

    def find(self, job: str) -> Any:
        from ray.job_submission import JobDetails, JobStatus, JobType

        assert job == "job"
        self.looks += 1
        ready = self.sent >= self.read
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0] if ready else "RUNNING"
        if isinstance(state, Exception):
            raise state
        return state and JobDetails(type=JobType.SUBMISSION, status=JobStatus(state), entrypoint="")

    def short_log(self, job: str) -> str | None:
        self.asked = True
        if isinstance(self.whole, Exception):
            raise self.whole
        return self.whole

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        stream = self.streams[min(self.connections, len(self.streams) - 1)]
        self.connections += 1
        position = 0
        for part in stream:
            if part is HANGS:
                await asyncio.Event().wait()
            if part is LATER:
                while not self.asked:
                    await asyncio.sleep(0)
                continue
            if isinstance(part, Exception):
                raise part
            yield part
            position += len(part)
            self.sent = max(self.sent, position)


class Clock:
    """Time that only sleeping moves, at once."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock, sleep = Clock(), asyncio.sleep

    async def move(seconds: float) -> None:
        clock.now += seconds
        await sleep(0.001)

    monkeypatch.setattr(follow, "time", clock)
    monkeypatch.setattr(asyncio, "sleep", move)
    monkeypatch.setattr(follow, "DRAIN_SECONDS", 0.1)  # of real time
    return clock


class Followed:
    """A follower that ran: the lines it emitted, the positions it had remembered, its result."""

    def __init__(self, client: Client, until: Callable[[], bool] = lambda: False, **options: Any) -> None:
        self.lines: list[str] = []
        self.positions: list[int] = []

        async def remember(position: int) -> None:
            self.positions.append(position)

        options = {"remember": remember, "log": logging.getLogger("task"), **options}
        follower = Follower(client, "job", emit=self.lines.append, **options)  # type: ignore[arg-type]
        self.details = asyncio.run(follower.run(until))
        self.tail = list(follower.tail)


# -- the log


def test_the_end_of_the_log_is_read_at_once_and_the_stream_left() -> None:
    client = Client([["one\ntw", HANGS]], ["SUCCEEDED"], whole="one\ntwo\nthree", read=6)
    followed = Followed(client)
    assert followed.lines == ["one", "two", "three"]
    assert followed.details is not None and followed.details.status == "SUCCEEDED"
    assert followed.positions == [13], "the line without an end counts once nothing can follow"


@pytest.mark.parametrize("whole", [None, AWAY, "on"], ids=["too long", "no answer", "shorter than what was shown"])
def test_without_the_whole_log_the_stream_is_read_to_its_end(whole: Any) -> None:
    client = Client([["one\ntw", LATER, "o\nthr", "ee"]], ["SUCCEEDED"], whole, read=6)
    assert Followed(client).lines == ["one", "two", "three"]


def test_a_stream_that_never_ends_is_left_when_it_falls_silent() -> None:
    client = Client([["one\ntwo", HANGS]], ["FAILED"], read=7)
    followed = Followed(client)
    assert followed.lines == ["one", "two"]
    assert followed.details is not None and followed.details.status == "FAILED"


def test_lines_are_shown_once_whatever_place_a_connection_breaks_at(caplog: pytest.LogCaptureFixture) -> None:
    broken = ConnectionError("cut")
    streams = [["one\nt", broken], ["one", "\ntwo\nth", broken], [broken], ["o", "ne\ntwo\nthree\n", HANGS]]
    caplog.set_level(logging.INFO, "task")
    assert Followed(Client(streams, ["SUCCEEDED"], read=14)).lines == ["one", "two", "three"]
    said = [m for m in caplog.messages if "broke off (cut); connecting again" in m]
    assert len(said) == 3, "once for each time that something had arrived, and for the first fruitless connection"


def test_what_an_earlier_attempt_has_shown_is_skipped() -> None:
    followed = Followed(Client([["one\ntwo\nthree\n"]], ["SUCCEEDED"], read=14), position=4)
    assert followed.lines == ["two", "three"] and followed.positions == [14]


def test_a_log_that_cannot_be_streamed_is_given_up_and_the_job_is_not(caplog: pytest.LogCaptureFixture) -> None:
    client = Client([[ConnectionError()]], ["RUNNING"] * 200 + ["SUCCEEDED"])
    followed = Followed(client)
    assert client.connections == FRUITLESS_CONNECTIONS
    assert followed.details is not None and followed.details.status == "SUCCEEDED"
    assert "the log cannot be streamed (ConnectionError); the job's page" in caplog.text


def test_the_tail_is_the_last_lines() -> None:
    text = "".join(f"{n}\n" for n in range(2 * TAIL_LINES))
    followed = Followed(Client([[text]], ["SUCCEEDED"], read=len(text)))
    assert followed.tail == [str(n) for n in range(TAIL_LINES, 2 * TAIL_LINES)]


def test_long_lines_are_bounded() -> None:
    endless, long = "x" * (2 * LINE_CHARACTERS + 1), "y" * (LINE_CHARACTERS + 1)
    text = f"{endless}\n{long}\n"
    followed = Followed(Client([[endless, f"\n{long}\n"]], ["SUCCEEDED"], read=len(text)))
    assert [len(line) for line in followed.lines] == [LINE_CHARACTERS, LINE_CHARACTERS, 1, LINE_CHARACTERS + 1]
    assert max(map(len, followed.tail)) == LINE_CHARACTERS


def test_what_a_dying_raylet_writes_of_itself_is_not_shown() -> None:
    dump = f"[2026-11-26 10:00:00,1 I 7 7] (raylet) node_manager.cc:1: {STATE_DUMP} NodeManager:\n{STATE_DUMP} x"
    text = f"one\n{dump}\ntwo\n"
    followed = Followed(Client([[text]], ["SUCCEEDED"], read=len(text)))
    assert followed.lines == followed.tail == ["one", "two"]
    assert followed.positions == [len(text)]


# -- the position


def test_the_position_of_complete_lines_is_remembered_every_five_seconds() -> None:
    client = Client([["one\ntw", HANGS]], ["RUNNING"] * 12 + ["SUCCEEDED"], whole="one\ntwo\n", read=6)
    assert Followed(client).positions == [4, 8], "after 5 s; then again only because it has changed"


def test_a_follower_needs_no_memory() -> None:
    assert Followed(Client([["one\n"]], ["SUCCEEDED"], read=4), remember=None).lines == ["one"]


# -- the job


def test_who_is_told_to_stop_leaves_the_job() -> None:
    client = Client([["one\n", HANGS]], ["RUNNING"])
    assert Followed(client, until=lambda: client.looks >= 3).details is None
    assert client.looks == 3


def test_a_cluster_that_is_away_for_a_while_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "task")
    client = Client([["one\n"]], ["RUNNING", AWAY, AWAY, "RUNNING", "SUCCEEDED"], read=4)
    assert Followed(client, patience_seconds=10).lines == ["one"]
    assert [m for m in caplog.messages if "answer" in m] == ["no answer; trying for 10 s more", "Ray answers again"]


def test_a_cluster_that_stays_away_ends_the_attempt_after_its_patience(clock: Clock) -> None:
    client = Client([[HANGS]], ["RUNNING", AWAY])
    with pytest.raises(RayUnreachable, match=r"no answer, for 10 s. Job job may still run; a retry .* Remedy"):
        Followed(client, patience_seconds=10, poll_seconds=2)
    assert 10 < clock.now <= 16


def test_a_job_that_the_cluster_has_forgotten_is_lost() -> None:
    with pytest.raises(RayJobLost, match="does not know job job any more"):
        Followed(Client([[HANGS]], ["RUNNING", None]))
