"""RayJobOperator: runs a command as a job of a Ray cluster; the task ends as the job ends."""

import asyncio
import shlex
import time
from collections import deque
from collections.abc import Collection, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator, conf
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowTaskTimeout

from airflow_ray.arguments import arguments, no_list
from airflow_ray.cluster import Cluster
from airflow_ray.errors import RayJobLost, RayUnreachable
from airflow_ray.follow import Follower
from airflow_ray.hook import RayHook
from airflow_ray.links import RayJobLink
from airflow_ray.package import pack_tracked_files
from airflow_ray.patience import optional
from airflow_ray.trigger import RayJobTrigger
from airflow_ray.work import LOG_KEY, Settled, Work, settle

if TYPE_CHECKING:
    from airflow.sdk import Context
    from ray.job_submission import JobDetails

    from airflow_ray.client import RayClient

GRACE_SECONDS = 4.0  # Airflow kills a stopped task about 5 s after asking it to end
LEFTOVER_SECONDS = 30.0


class RayJobOperator(BaseOperator):
    """Run a command on a Ray cluster, show its log as it is written, and succeed or fail with it.

    There is one job per attempt of work. A retry, or a worker that takes over, follows the job that is there, takes
    the result of one that has succeeded, and starts a new one only after one that has failed or was stopped. A clear
    begins anew; what survived from before is stopped first.

    Args:
        entrypoint: the command, one argument an item: texts, paths or numbers. Each is quoted: no text in it reaches a
            shell as syntax. A command line in one string is refused, because splitting it would need a shell's rules.
        conn_id: connection of type ``ray``.
        runtime_env: Ray runtime environment of the job, over the connection's, key by key.
        working_dir: git working tree whose tracked files are sent; the connection's where unset.
        entrypoint_num_cpus: CPU slots that the driver process itself takes.
        entrypoint_num_gpus: GPUs that the driver process itself takes; 0 hides them all from it.
        entrypoint_memory: bytes reserved for the driver.
        entrypoint_resources: custom resources that the driver takes, such as those of the head node.
        deferrable: wait in the triggerer, and give the worker slot back.
        poll_interval: seconds between looks at the job.
        patience: for how long the cluster may stay silent before the attempt fails. Its job is left alone.
        stop_timeout: for how long a job may take to end once it is stopped.
        no_retry_exit_codes: exit codes with which a job says that a retry cannot help.

    Raises:
        TypeError: when the DAG file is read: an entrypoint that is one text.
        AirflowFailException: the job, or the connection, says that a retry cannot help.
        AirflowException: the job failed, was stopped, or cannot be reached; the message ends with the tail of its log.
    """

    template_fields: Sequence[str] = ("entrypoint",)
    operator_extra_links = (RayJobLink(),)
    ui_color = "#dbeef7"

    def __init__(
        self,
        *,
        entrypoint: Sequence[str],
        conn_id: str = "ray_default",
        runtime_env: dict[str, Any] | None = None,
        working_dir: str | None = None,
        entrypoint_num_cpus: float = 0,
        entrypoint_num_gpus: float = 0,
        entrypoint_memory: int | None = None,
        entrypoint_resources: dict[str, float] | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 1,
        patience: timedelta = timedelta(minutes=5),
        stop_timeout: timedelta = timedelta(minutes=1),
        no_retry_exit_codes: Collection[int] = (2,),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(entrypoint, str | bytes):
            raise TypeError(no_list(entrypoint))  # when the DAG file is read
        self.entrypoint = list(entrypoint) if isinstance(entrypoint, Sequence) else entrypoint  # an XComArg is rendered
        self.conn_id = conn_id
        self.runtime_env = runtime_env
        self.working_dir = working_dir
        self.entrypoint_num_cpus = entrypoint_num_cpus
        self.entrypoint_num_gpus = entrypoint_num_gpus
        self.entrypoint_memory = entrypoint_memory
        self.entrypoint_resources = entrypoint_resources
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.patience = patience
        self.stop_timeout = stop_timeout
        self.no_retry_exit_codes = tuple(no_retry_exit_codes)
        self.job_url = ""
        self._client: RayClient | None = None
        self._job: str | None = None
        self._killed = False

    # -- what Airflow calls

    def execute(self, context: "Context") -> str:
        """Returns the job's submission id."""
        try:
            cluster = self._connect()
            return self._run(context, cluster, self._settle(context, cluster))
        except AirflowTaskTimeout:
            # Raised out of whatever was going on. There is time: Airflow kills stopped tasks, not late ones.
            self._stop_late_job()
            raise
        except (RayUnreachable, RayJobLost) as error:
            raise AirflowException(str(error)) from error

    def resume(self, context: "Context", event: dict[str, Any], started: float, how: str) -> str:
        """Called when the trigger has fired: the end of a deferred task."""
        try:
            cluster = self._connect()
            job = self._job = str(event["submission_id"])
            self._show_link(context, cluster, job)
            if event["outcome"] == "timeout":
                self._stop_late_job()
                limit = self.execution_timeout
                raise AirflowTaskTimeout(f"Ray job {job} ran for longer than {limit} and was stopped")
            if event["outcome"] != "ended":
                raise AirflowException(event["message"])
            details = self._client.find(job) if self._client else None
            if details is None:
                raise RayJobLost(f"Ray does not know job {job} any more. A retry of this task submits it anew")
            if details.status == "STOPPED" and how == "attached":
                return self._run(context, cluster, self._settle(context, cluster), started)
            return self._end(job, details, deque(event["tail"]))
        except (RayUnreachable, RayJobLost) as error:
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
        except RayUnreachable as error:
            self.log.warning("%s: the job may still run; the next attempt finds it", error)

    # -- steps

    def _connect(self) -> Cluster:
        try:
            cluster = RayHook(self.conn_id).cluster
            self._client = cluster.client()
        except ValueError as error:
            raise AirflowFailException(str(error)) from error
        return cluster

    def _settle(self, context: "Context", cluster: Cluster) -> Settled:
        assert self._client is not None
        client, work = self._client, Work.of(context, cluster.namespace)

        def submit(name: str) -> None:
            self._job = name
            self._stop_if_killed()
            self._show_link(context, cluster, name)
            self._submit(client, cluster, work, name)
            self._stop_if_killed()

        seconds = self.stop_timeout.total_seconds()
        try:
            settled = settle(client, work, context["task_state_store"], submit, stop_seconds=seconds, log=self.log)
        except RuntimeError as error:
            raise AirflowException(str(error)) from error
        self._job = settled.submission_id
        self._show_link(context, cluster, settled.submission_id)
        driver = ", ".join(
            f"{n:g} {what}" for n, what in ((self.entrypoint_num_cpus, "CPU"), (self.entrypoint_num_gpus, "GPU"))
        )
        self.log.info("Ray job %s (%s) on %s: %s; its driver takes %s", settled.submission_id, settled.how, cluster.url, client.resources(), driver)  # fmt: skip
        return settled

    def _submit(self, client: "RayClient", cluster: Cluster, work: Work, name: str) -> None:
        environment = {**(cluster.runtime_env or {}), **(self.runtime_env or {})}
        archive: Path | None = None
        try:
            if directory := self.working_dir or cluster.working_dir:
                archive = pack_tracked_files(directory)
                environment["working_dir"] = str(archive)
            client.submit_once(
                entrypoint=shlex.join(arguments(self.entrypoint)),
                submission_id=name,
                runtime_env=environment or None,
                metadata=work.metadata(),
                entrypoint_num_cpus=self.entrypoint_num_cpus,
                entrypoint_num_gpus=self.entrypoint_num_gpus,
                entrypoint_memory=self.entrypoint_memory,
                entrypoint_resources=self.entrypoint_resources,
            )
        except (ValueError, TypeError) as error:
            raise AirflowFailException(str(error)) from error
        finally:
            if archive:
                archive.unlink()

    def _show_link(self, context: "Context", cluster: Cluster, job: str) -> None:
        # Airflow stores links when a task ends; people want this one while the job runs.
        self.job_url = cluster.job_url(job)
        if link := self.job_url:
            instance = context["ti"]
            optional(lambda: instance.xcom_push(key=RayJobLink().xcom_key, value=link), self.log, "the link to the job")

    def _run(self, context: "Context", cluster: Cluster, settled: Settled, started: float | None = None) -> str:
        """Follow a settled job to its end, here or in the triggerer."""
        assert self._client is not None
        started = started or time.time()
        if settled.position:
            self.log.info("the first %d characters of the job's log are in an earlier attempt's", settled.position)
        if self.deferrable and settled.how != "adopted":
            self._defer(settled, started)
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
        )
        details = asyncio.run(follower.run(until=lambda: self._killed))
        self._stop_if_killed()
        assert details is not None
        if details.status == "STOPPED" and settled.how == "attached":
            # Whoever had this job before us was asked to end and stopped it, while we took it over.
            self.log.info("job %s was stopped on behalf of an earlier attempt", settled.submission_id)
            return self._run(context, cluster, self._settle(context, cluster), started)
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
            ),
            method_name="resume",
            kwargs={"started": started, "how": settled.how},
        )

    def _end(self, job: str, details: "JobDetails", tail: "deque[str]") -> str:
        if details.status == "SUCCEEDED":
            return job
        assert self._client is not None
        if left := self._client.wait_for_release(details, time.monotonic() + LEFTOVER_SECONDS):
            self.log.warning("still there after the job's end: %s", ", ".join(left))
        if details.status == "STOPPED":
            raise AirflowException(f"Ray job {job} was stopped")
        errors = [line for line in tail if line.startswith("ERROR")]
        text = "\n".join(errors or tail) or str(details.message)
        message = f"Ray job {job} failed (exit code {details.driver_exit_code}):\n{text}"
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
            raise AirflowException(f"the task was stopped, and with it Ray job {self._job}")
