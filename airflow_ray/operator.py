"""RayJobOperator: runs a command as a job of a Ray cluster; the task ends as the job ends."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowTaskTimeout

from airflow_ray.cluster import Cluster
from airflow_ray.errors import RayJobLost, RayRefused, RayUnreachable
from airflow_ray.follow import Follower
from airflow_ray.hook import RayHook
from airflow_ray.job import RayJob
from airflow_ray.links import RayJobLink
from airflow_ray.patience import optional
from airflow_ray.result import END_BYTES, failure, result
from airflow_ray.trigger import RayJobTrigger
from airflow_ray.work import LOG_KEY, Settled, Work, settle

if TYPE_CHECKING:
    from airflow.sdk import Context
    from ray.job_submission import JobDetails

    from airflow_ray.client import RayClient

GRACE_SECONDS = 4.0  # Airflow kills a stopped task about 5 s after asking it to end
LEFTOVER_SECONDS = 30.0
SILENCE_POLL_SECONDS = 5.0
DEFER_AFTER_SECONDS = 10.0  # the scheduler sees a process end within one or two turns of its loop, about a second each

T = TypeVar("T")


class RayJobOperator(RayJob):
    """Run a command on a Ray cluster, show its log as it is written, and succeed or fail with it.

    There is one job per attempt of work. A retry, or a worker that takes over, follows the job that is there, takes
    the result of one that has succeeded, and starts a new one only after one that has failed or was stopped. A clear
    begins anew; what survived from before is stopped first.

    Every argument is checked when the DAG file is read; one that holds a template is checked when that is rendered, before
    anything is submitted.

    Args:
        entrypoint: the command, one argument an item: texts, paths or numbers. Each is quoted: no text in it reaches a
            shell as syntax. A command line in one string is refused, because splitting it would need a shell's rules.
        conn_id: connection of type ``ray``.
        runtime_env: Ray runtime environment of the job, merged over the connection's (:func:`airflow_ray.runtime_env.merge`).
        working_dir: git working tree whose tracked files are sent; else the runtime_env's working_dir, else the connection's.
        entrypoint_num_cpus: CPU slots that the driver process itself takes.
        entrypoint_num_gpus: GPUs that the driver process itself takes; 0 hides them all from it.
        entrypoint_memory: bytes reserved for the driver.
        entrypoint_resources: custom resources that the driver takes, such as those of the head node.
        entrypoint_label_selector: labels of the nodes on which the driver may run, such as ``{"market-type": "!spot"}``.
        metadata: texts kept with the job, beside those that name its task.
        wait_for_completion: False submits the job, or finds it submitted, and succeeds; a RayJobSensor waits for it.
        xcom_result: return the job's result in place of its submission id: the JSON of the last line ``RAY_JOB_RESULT …``.
        deferrable: wait in the triggerer, and give the worker slot back. The first seconds are waited for in the worker.
        durable: a retry goes on with an earlier attempt's job; False stops that one and starts anew.
        poll_interval: seconds between looks at the job.
        patience: for how long the cluster may stay silent before the attempt fails. Its job is left alone.
        stop_timeout: for how long a job may take to end once it is stopped.
        no_retry_exit_codes: exit codes with which a job says that a retry cannot help.

    Raises:
        TypeError, ValueError: when the DAG file is read: an argument of the wrong kind, naming it and the remedy.
        AirflowFailException: the job, or the connection, says that a retry cannot help.
        AirflowException: the job failed, was stopped, or cannot be reached; the message ends with the tail of its log.
    """

    operator_extra_links = (RayJobLink(),)
    ui_color = "#dbeef7"

    job_url = ""
    _client: "RayClient | None" = None
    _job: str | None = None
    _killed = False

    # -- what Airflow calls

    def execute(self, context: "Context") -> Any:
        """Returns the job's submission id, or its result."""
        try:
            cluster = self._patiently(self._connect)
            settled = self._patiently(lambda: self._settle(context, cluster))
            return self._run(context, cluster, settled) if self.wait_for_completion else settled.submission_id
        except AirflowTaskTimeout:
            # Raised out of whatever was going on. There is time: Airflow kills stopped tasks, not late ones.
            self._stop_late_job()
            raise
        except (RayUnreachable, RayJobLost, RayRefused) as error:  # refused later on: a token may have been changed
            raise AirflowException(str(error)) from error

    def resume(self, context: "Context", event: dict[str, Any], started: float, how: str) -> Any:
        """Called when the trigger has fired: the end of a deferred task."""
        try:
            cluster = self._patiently(self._connect)
            job = self._job = str(event["submission_id"])
            self._show_link(context, cluster, job)
            if event["outcome"] == "timeout":
                self._stop_late_job()
                limit = self.execution_timeout
                raise AirflowTaskTimeout(f"Ray job {job} ran for longer than {limit} and was stopped")
            if event["outcome"] != "ended":
                raise AirflowException(event["message"])
            client = self._client
            details = self._patiently(lambda: client.find(job)) if client else None
            if details is None:
                raise RayJobLost(f"Ray does not know job {job} any more. A retry of this task submits it anew")
            if details.status == "STOPPED" and how == "attached":
                settled = self._patiently(lambda: self._settle(context, cluster))
                return self._run(context, cluster, settled, started)
            return self._end(job, details, deque(event["tail"]))
        except (RayUnreachable, RayJobLost, RayRefused) as error:
            raise AirflowException(str(error)) from error

    def on_kill(self) -> None:
        """Stop the job, and wait GRACE_SECONDS; ``execute`` waits for the rest of the stop."""
        self._killed = True
        if self._client is None or self._job is None:
            return
        self.log.info("stopping Ray job %s", self._job)
        try:
            if not self._client.stop_and_wait(self._job, GRACE_SECONDS):
                self.log.warning("job %s has not ended yet", self._job)
        except (RayUnreachable, RayRefused) as error:
            self.log.warning("%s: the job may still run; the next attempt finds it", error)

    # -- steps

    def _patiently(self, step: Callable[[], T]) -> T:
        """Repeat a step until Ray has been silent for ``patience``. What it did before it broke off, it finds again."""
        deadline: float | None = None
        while True:
            try:
                return step()
            except RayUnreachable as error:
                now = time.monotonic()
                if deadline is None:
                    deadline = now + self.patience.total_seconds()
                    self.log.warning("%s; trying for %.0f s more", error, self.patience.total_seconds())
                if now >= deadline:
                    raise
            self._stop_if_killed()
            time.sleep(min(self.poll_interval, SILENCE_POLL_SECONDS))

    def _connect(self) -> Cluster:
        try:
            self._checked()  # with its templates rendered
            cluster = RayHook(self.conn_id).cluster
            self._client = cluster.client()
        except (ValueError, TypeError) as error:
            raise AirflowFailException(str(error)) from error
        return cluster

    def _settle(self, context: "Context", cluster: Cluster) -> Settled:
        assert self._client is not None
        client, work = self._client, Work.of(context, cluster.namespace)

        def submit(name: str) -> None:
            self._job = name
            self._stop_if_killed()
            self._show_link(context, cluster, name)
            self._submit(context, client, cluster, work, name)
            self._stop_if_killed()

        seconds = self.stop_timeout.total_seconds()
        try:
            settled = settle(
                client,
                work,
                context["task_state_store"],
                submit,
                stop_seconds=seconds,
                log=self.log,
                durable=self.durable,
            )
        except RuntimeError as error:
            raise AirflowException(str(error)) from error
        self._job = settled.submission_id
        self._show_link(context, cluster, settled.submission_id)
        asks = self._asks()
        shown = ", ".join(f"{asks.get(what, 0):g} {what}" for what in dict.fromkeys(("CPU", "GPU", *asks)))
        self.log.info("Ray job %s (%s) on %s: %s; its driver takes %s", settled.submission_id, settled.how, cluster.url, client.resources(), shown)  # fmt: skip
        return settled

    def _show_link(self, context: "Context", cluster: Cluster, job: str) -> None:
        # Airflow stores links when a task ends; people want this one while the job runs.
        self.job_url = cluster.job_url(job)
        if link := self.job_url:
            instance = context["ti"]
            optional(lambda: instance.xcom_push(key=RayJobLink().xcom_key, value=link), self.log, "the link to the job")

    def _run(self, context: "Context", cluster: Cluster, settled: Settled, started: float | None = None) -> Any:
        """Follow a settled job to its end, here or in the triggerer."""
        assert self._client is not None
        started = started or time.time()
        if settled.position:
            self.log.info("the first %d characters of the job's log are in an earlier attempt's", settled.position)
        # A job of a few seconds is answered here. Airflow takes a deferred task that goes on before the scheduler has seen
        # its process end for killed (apache/airflow issue 72716); see also the trigger's EARLIEST_SECONDS.
        patience = time.monotonic() + DEFER_AFTER_SECONDS if self.deferrable and settled.how != "adopted" else math.inf
        state_store = context["task_state_store"]

        async def remember(position: int) -> None:
            shown: dict[str, Any] = {"submission_id": settled.submission_id, "position": position}
            optional(lambda: state_store.set(LOG_KEY, shown), self.log, "how much of the job's log was shown")

        follower = Follower(
            self._client,
            settled.submission_id,
            emit=lambda line: self.log.info("%s", line),
            log=self.log,
            position=settled.position,
            remember=remember,
            patience_seconds=self.patience.total_seconds(),
            poll_seconds=self.poll_interval,
            asks=self._asks(),
        )
        details = asyncio.run(follower.run(until=lambda: self._killed or time.monotonic() > patience))
        self._stop_if_killed()
        if details is None:
            self._defer(replace(settled, position=follower.position), started)
        if details.status == "STOPPED" and settled.how == "attached":
            # Whoever had this job before us was asked to end and stopped it, while we took it over.
            self.log.info("job %s was stopped on behalf of an earlier attempt", settled.submission_id)
            settled = self._patiently(lambda: self._settle(context, cluster))
            return self._run(context, cluster, settled, started)
        return self._end(settled.submission_id, details, follower.tail)

    def _defer(self, settled: Settled, started: float) -> NoReturn:
        self.defer(
            trigger=RayJobTrigger(
                conn_id=self.conn_id,
                submission_id=settled.submission_id,
                position=settled.position,
                deadline=started + self.execution_timeout.total_seconds() if self.execution_timeout else None,
                poll_interval=self.poll_interval,
                patience_seconds=self.patience.total_seconds(),
                stop_seconds=self.stop_timeout.total_seconds(),
                asks=self._asks(),
            ),
            method_name="resume",
            kwargs={"started": started, "how": settled.how},
        )

    def _end(self, job: str, details: "JobDetails", tail: "deque[str]") -> Any:
        assert self._client is not None
        if details.status == "SUCCEEDED":
            if not self.xcom_result:
                return job
            try:
                client = self._client
                return result(job, self._patiently(lambda: client.log_end(job, END_BYTES)))
            except ValueError as error:
                raise AirflowFailException(str(error)) from error
        if left := self._client.wait_for_release(details, time.monotonic() + LEFTOVER_SECONDS):
            self.log.warning("still there after the job's end: %s", ", ".join(left))
        message = failure(job, details, list(tail))
        if details.driver_exit_code in self.no_retry_exit_codes:
            raise AirflowFailException(message)
        raise AirflowException(message)

    def _stop_late_job(self) -> None:
        if self._client and self._job and not self._client.stop_and_wait(self._job, self.stop_timeout.total_seconds()):
            self.log.warning("job %s did not end within %s of being stopped", self._job, self.stop_timeout)

    def _stop_if_killed(self) -> None:
        """If Airflow has asked this task to stop, stop the job and fail. Raises AirflowException."""
        if self._killed:
            self._stop_late_job()
            raise AirflowException("the task was stopped" + (f", and with it Ray job {self._job}" if self._job else ""))
