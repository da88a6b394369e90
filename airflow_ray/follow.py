"""Follow a job to its end: every line that it writes, once and in order, through lost connections."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from airflow_ray.errors import RayJobLost, RayUnreachable
from airflow_ray.result import TAIL_LINES
from airflow_ray.waiting import Waiting

if TYPE_CHECKING:
    from ray.job_submission import JobDetails

    from airflow_ray.client import RayClient

LINE_CHARACTERS = 20_000  # of a line without an end: longer ones are shown in pieces, which bounds memory
# What a raylet that dies writes of itself, hundreds of lines, into the log of each job there.
STATE_DUMP = "[state-dump]"
REMEMBER_SECONDS = 5.0
DRAIN_SECONDS = 10.0  # without a word, after which the log's end is not waited for
FRUITLESS_CONNECTIONS = 6


class Follower:
    """One job's log and state.

    Args:
        client: of the cluster.
        submission_id: of the job.
        emit: gets every line.
        log: gets what the follower itself has to say.
        position: characters of the log that were shown before.
        remember: called with the position after complete lines, every few seconds and at the end.
        patience_seconds: for how long the cluster may stay silent.
        poll_seconds: between looks at the job's state.
        asks: what the driver needs to start, by resource.
    """

    def __init__(
        self,
        client: "RayClient",
        submission_id: str,
        *,
        emit: Callable[[str], None],
        log: Any,
        position: int = 0,
        remember: Callable[[int], Awaitable[None]] | None = None,
        patience_seconds: float = 300,
        poll_seconds: float = 1,
        asks: dict[str, float] | None = None,
    ) -> None:
        self._client, self._job = client, submission_id
        self._emit, self._log, self._remember = emit, log, remember
        self._patience, self._poll = patience_seconds, poll_seconds
        self._waiting = Waiting(client, asks or {}, log)
        self._shown = position  # characters received, the incomplete line among them
        self._rest = ""
        self._remembered = (time.monotonic(), position)
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)

    @property
    def position(self) -> int:
        """Characters of complete lines shown."""
        return self._shown - len(self._rest)

    async def run(self, until: Callable[[], bool] = lambda: False) -> "JobDetails | None":
        """Returns the job's details once it has ended; None as soon as ``until`` says so.

        Raises:
            RayUnreachable: no answer for ``patience_seconds``. The job may go on.
            RayJobLost: the cluster does not know the job.
        """
        reader = asyncio.create_task(self._read())
        try:
            while not until():
                details = await self._details()
                if details.status.is_terminal():
                    await self._read_the_rest(reader)
                    await self._note_position(force=True)
                    return details
                if details.status == "PENDING":
                    await asyncio.to_thread(self._waiting.tell)
                await self._note_position()
                await asyncio.sleep(self._poll)
            return None
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _read_the_rest(self, reader: "asyncio.Task[None]") -> None:
        """Ray's stream ends some 5 s after its job; a log of at most SHORT_LOG_BYTES is therefore read in one request."""
        try:
            whole = await asyncio.to_thread(self._client.short_log, self._job)
        except RayUnreachable:
            whole = None
        if whole is not None and len(whole) >= self._shown:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            self._take(whole[self._shown :])
        shown = -1
        while not reader.done() and shown < self._shown:  # as long as more comes
            shown = self._shown
            await asyncio.wait({reader}, timeout=DRAIN_SECONDS)
        self._flush()

    async def _details(self) -> "JobDetails":
        silent_since: float | None = None
        while True:
            try:
                details = await asyncio.to_thread(self._client.find, self._job)
            except RayUnreachable as error:
                now = time.monotonic()
                if silent_since is None:
                    silent_since = now
                    self._log.warning("%s; trying for %.0f s more", error, self._patience)
                elif now - silent_since > self._patience:
                    raise RayUnreachable(
                        f"{error}, for {self._patience:.0f} s. Job {self._job} may still run; "
                        "a retry of this task finds it again. Remedy: bring the Ray head back"
                    ) from error
                await asyncio.sleep(min(self._poll, 5))
                continue
            if silent_since is not None:
                self._log.info("Ray answers again")
            if details is None:
                raise RayJobLost(
                    f"Ray does not know job {self._job} any more: its head was replaced. A retry of this task submits it anew"
                )
            return details

    async def _read(self) -> None:
        """The stream starts at the beginning with every connection: what was shown already is skipped."""
        fruitless, reason = 0, ""
        while fruitless < FRUITLESS_CONNECTIONS:
            position, before = 0, self._shown
            try:
                async for chunk in self._client.tail_job_logs(self._job):
                    self._take(chunk[max(self._shown - position, 0) :])
                    position += len(chunk)
                return
            except Exception as error:  # whatever websocket, proxy or head do: the job's state decides, not its log
                reason = str(error) or type(error).__name__
            fruitless = 0 if self._shown > before else fruitless + 1
            if fruitless <= 1:
                self._log.warning("the log stream broke off (%s); connecting again", reason)
            await asyncio.sleep(min(2**fruitless / 2, 10))
        self._log.warning("the log cannot be streamed (%s); the job's page on the Ray dashboard has it", reason)

    def _take(self, text: str) -> None:
        self._shown += len(text)
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._show(line)
        while len(self._rest) > LINE_CHARACTERS:
            self._show(self._rest[:LINE_CHARACTERS])
            self._rest = self._rest[LINE_CHARACTERS:]

    def _flush(self) -> None:
        if self._rest:
            self._show(self._rest)
            self._rest = ""

    def _show(self, line: str) -> None:
        if STATE_DUMP in line:
            return
        self.tail.append(line[:LINE_CHARACTERS])
        self._emit(line)

    async def _note_position(self, force: bool = False) -> None:
        at, position = self._remembered
        if self._remember and self.position != position and (force or time.monotonic() - at >= REMEMBER_SECONDS):
            self._remembered = (time.monotonic(), self.position)
            await self._remember(self.position)
