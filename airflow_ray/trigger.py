"""RayJobTrigger: waits for a job in the triggerer."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.sdk import BaseHook
from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_ray.cluster import Cluster
from airflow_ray.errors import RayJobLost, RayRefused, RayUnreachable
from airflow_ray.follow import Follower
from airflow_ray.work import LOG_KEY

# A task that goes on before the scheduler has seen the end of the process that deferred it is taken for killed
# (apache/airflow issue 72716). The scheduler looks about once a second, less often under load.
EARLIEST_SECONDS = 10.0


class RayJobTrigger(BaseTrigger):
    """Follow a job, its log in the task's log, and fire when it has ended.

    A user who marks the task or clears it stops the job (``on_kill``); a triggerer that restarts leaves it alone.

    Args:
        conn_id: connection of type ``ray``.
        submission_id: of the job.
        position: characters of its log that were shown before.
        deadline: when the job is late, in seconds since the epoch.
        poll_interval: seconds between looks at the job.
        patience_seconds: for how long the cluster may stay silent.
        stop_seconds: for how long a job may take to end once it is stopped.
        asks: what its driver needs to start, by resource.
    """

    def __init__(
        self,
        conn_id: str,
        submission_id: str,
        position: int,
        deadline: float | None,
        poll_interval: float,
        patience_seconds: float,
        stop_seconds: float,
        asks: dict[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.submission_id = submission_id
        self.position = position
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.patience_seconds = patience_seconds
        self.stop_seconds = stop_seconds
        self.asks = asks or {}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "airflow_ray.trigger.RayJobTrigger",
            {
                "conn_id": self.conn_id,
                "submission_id": self.submission_id,
                "position": self.position,
                "deadline": self.deadline,
                "poll_interval": self.poll_interval,
                "patience_seconds": self.patience_seconds,
                "stop_seconds": self.stop_seconds,
                "asks": self.asks,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fires once: ``outcome`` is ``ended``, ``timeout``, ``unreachable`` or ``lost``."""
        tail: list[str] = []
        earliest = time.monotonic() + EARLIEST_SECONDS
        try:
            details, tail = await self._follow()
            outcome, message = ("ended", "") if details else ("timeout", "")
        except RayUnreachable as error:
            outcome, message = "unreachable", str(error)
        except (RayJobLost, RayRefused) as error:
            outcome, message = "lost", str(error)
        await asyncio.sleep(earliest - time.monotonic())
        yield TriggerEvent({"submission_id": self.submission_id, "outcome": outcome, "message": message, "tail": tail})

    async def on_kill(self) -> None:
        """A user has marked or cleared the task: stop the job."""
        self.log.info("stopping Ray job %s", self.submission_id)
        client = (await self._cluster()).client
        await asyncio.to_thread(lambda: client().stop_and_wait(self.submission_id, self.stop_seconds))

    async def _cluster(self) -> Cluster:
        # In a thread: masking the connection's secrets waits for the supervisor.
        return await asyncio.to_thread(Cluster.from_connection, await BaseHook.aget_connection(self.conn_id))

    async def _follow(self) -> tuple[Any, list[str]]:
        client = await asyncio.to_thread((await self._cluster()).client)
        self.log.info("following Ray job %s in the triggerer", self.submission_id)
        follower = Follower(
            client,
            self.submission_id,
            emit=lambda line: self.log.info("%s", line),
            log=self.log,
            position=await self._position(),
            remember=self._remember,
            patience_seconds=self.patience_seconds,
            poll_seconds=self.poll_interval,
            asks=self.asks,
        )
        details = await follower.run(until=lambda: self.deadline is not None and time.time() > self.deadline)
        return details, list(follower.tail)

    # A trigger has no task state store; what it has shown is kept in an XCom, for the triggerer that takes over.

    def _cursor(self) -> dict[str, Any]:
        instance = self.task_instance
        assert instance is not None
        return {
            "key": LOG_KEY,
            "dag_id": instance.dag_id,
            "task_id": instance.task_id,
            "run_id": instance.run_id,
            "map_index": instance.map_index,
        }

    async def _position(self) -> int:
        saved = await BaseXCom.aget_one(**self._cursor()) or {}
        return max(self.position, saved["position"] if saved.get("submission_id") == self.submission_id else 0)

    async def _remember(self, position: int) -> None:
        try:
            await BaseXCom.aset(value={"submission_id": self.submission_id, "position": position}, **self._cursor())
        except AirflowRuntimeError as error:  # the job goes on without it
            self.log.warning("how much of the job's log was shown was not saved: %s", error)
