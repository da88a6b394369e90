"""RayJobOperator: run a command as a job of a Ray cluster, through the Ray Jobs API."""

import asyncio
import logging
import re
import shlex
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseHook, BaseOperator, BaseOperatorLink
from airflow.sdk.exceptions import AirflowException, AirflowFailException

if TYPE_CHECKING:
    from airflow.sdk import Connection, Context
    from ray.job_submission import JobDetails, JobSubmissionClient

USER_ERROR_EXIT_CODE = 2  # a job's way to say that a retry cannot help
TERMINAL = ("SUCCEEDED", "FAILED", "STOPPED")
TAIL_LINES = 15
AGENT_WAIT_SECONDS = 120.0
KILL_GRACE_SECONDS = 4.0  # Airflow kills a stopped task about 5 s after asking it to end


def cluster_url(connection: "Connection") -> str:
    """Address of the Jobs API: ``http(s)://host:port`` from the connection's schema, host and port."""
    return f"{connection.schema or 'http'}://{connection.host}:{connection.port or 8265}"


def jobs_client(connection: "Connection") -> "JobSubmissionClient":
    """A client of the Jobs API; the connection's password is the cluster's token.

    Raises:
        ConnectionError: when no Ray answers at that address, or it refuses the token.
    """
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    logging.getLogger("ray.dashboard.modules.job.sdk").setLevel(logging.WARNING)  # it tells of every closed stream
    headers = {"Authorization": f"Bearer {connection.password}"} if connection.password else None
    try:
        return JobSubmissionClient(cluster_url(connection), headers=headers)
    except (RuntimeError, AuthenticationError) as error:
        raise ConnectionError(str(error).strip().split("\n")[0]) from error


class RayJobLink(BaseOperatorLink):
    """The job's page on the Ray dashboard."""

    name = "Ray job"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        return getattr(operator, "job_url", "")


class RayJobOperator(BaseOperator):
    """Submit a command to a Ray cluster, show its log line by line, and share its fate.

    Args:
        entrypoint: the command, one argument an item. Each is quoted, so no text in it reaches a shell as syntax.
        conn_id: connection with schema, host, port and, as its password, the cluster's token.
        runtime_env: Ray runtime environment of the job; the connection's extra ``runtime_env`` where unset.
        entrypoint_num_cpus: CPU slots that the driver process itself takes.

    Raises:
        AirflowFailException: the job says that a retry cannot help (exit code 2).
        AirflowException: the job failed or was stopped; the message ends with the tail of its log.
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
        entrypoint_num_cpus: float = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.entrypoint = list(entrypoint)
        self.conn_id = conn_id
        self.runtime_env = runtime_env
        self.entrypoint_num_cpus = entrypoint_num_cpus
        self.job_url = ""
        self._submission_id: str | None = None
        self._client: JobSubmissionClient | None = None
        self._killed = False

    def execute(self, context: "Context") -> str:
        """Returns the job's submission id."""
        connection = BaseHook.get_connection(self.conn_id)
        self._client = client = jobs_client(connection)
        instance = context["ti"]
        self._submission_id = submission_id(instance.dag_id, instance.run_id, instance.task_id, instance.try_number)
        self.job_url = f"{cluster_url(connection)}/#/jobs/{quote(self._submission_id)}"
        # Airflow stores links when a task ends; people want this one while the job runs.
        instance.xcom_push(key=RayJobLink().xcom_key, value=self.job_url)
        submit_when_ready(
            client,
            entrypoint=shlex.join(self.entrypoint),
            submission_id=self._submission_id,
            runtime_env=self.runtime_env or connection.extra_dejson.get("runtime_env"),
            metadata={"dag_id": instance.dag_id, "run_id": instance.run_id, "task_id": instance.task_id},
            entrypoint_num_cpus=self.entrypoint_num_cpus,
        )
        self.log.info("Ray job %s on %s", self._submission_id, cluster_url(connection))
        tail = asyncio.run(self._follow(client, self._submission_id))
        details = self._wait_until_terminal(client, self._submission_id)
        if self._killed or details.status == "STOPPED":
            raise AirflowException(f"Ray job {self._submission_id} was stopped")
        if details.status != "SUCCEEDED":
            raise _failure(self._submission_id, details, tail)
        return self._submission_id

    async def _follow(self, client: "JobSubmissionClient", job: str) -> "deque[str]":
        """Log every line that the job writes until its log ends; returns the last lines.

        The stream starts at the beginning again after a lost connection: what was shown already is skipped.
        """
        tail: deque[str] = deque(maxlen=TAIL_LINES)
        shown, rest = 0, ""
        while not self._killed:
            position = 0
            try:
                async for chunk in client.tail_job_logs(job):
                    fresh = chunk[max(shown - position, 0) :]
                    position += len(chunk)
                    shown = max(shown, position)
                    *lines, rest = (rest + fresh).split("\n")
                    for line in lines:
                        tail.append(line)
                        self.log.info("%s", line)
            except RuntimeError as error:
                self.log.warning("the log stream of %s broke off (%s); connecting again", job, error)
            if client.get_job_status(job) in TERMINAL:
                break
            await asyncio.sleep(1)
        if rest:
            tail.append(rest)
            self.log.info("%s", rest)
        return tail

    def _wait_until_terminal(self, client: "JobSubmissionClient", job: str) -> "JobDetails":
        while True:
            details = client.get_job_info(job)
            if details.status in TERMINAL:
                return details
            time.sleep(0.5)

    def on_kill(self) -> None:
        """Stop the job, and wait for as long as Airflow lets us."""
        self._killed = True
        if self._client is None or self._submission_id is None:
            return
        self.log.info("stopping Ray job %s", self._submission_id)
        self._client.stop_job(self._submission_id)
        deadline = time.monotonic() + KILL_GRACE_SECONDS
        while time.monotonic() < deadline and self._client.get_job_status(self._submission_id) not in TERMINAL:
            time.sleep(0.2)


def submit_when_ready(client: "JobSubmissionClient", **job: Any) -> None:
    """Submit; wait for a cluster that has just started, whose API answers before an agent can take jobs.

    Raises:
        RuntimeError: the cluster refused the job, or has had no agent for AGENT_WAIT_SECONDS.
    """
    deadline = time.monotonic() + AGENT_WAIT_SECONDS
    while True:
        try:
            client.submit_job(**job)
            return
        except RuntimeError as error:
            if "No available agent" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(1)


def submission_id(dag_id: str, run_id: str, task_id: str, try_number: int) -> str:
    """One name per attempt of a task; Ray refuses a second job of the same name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{dag_id}-{run_id}-{task_id}-{try_number}")


def _failure(job: str, details: "JobDetails", tail: "deque[str]") -> AirflowException:
    errors = [line for line in tail if line.startswith("ERROR")]
    text = "\n".join(errors or tail) or str(details.message)
    message = f"Ray job {job} failed (exit code {details.driver_exit_code}):\n{text}"
    return (
        AirflowFailException(message) if details.driver_exit_code == USER_ERROR_EXIT_CODE else AirflowException(message)
    )
