"""Ray's own Jobs client, with a time limit on every request and the few questions that an operator asks.

Ray takes over a second to import: only code that handles a job imports this module.
"""

import json
import logging
import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import requests
from ray.exceptions import AuthenticationError  # noqa: TID253
from ray.job_submission import JobDetails, JobSubmissionClient  # noqa: TID253

from airflow_ray.errors import RayRefused, RayUnreachable

if TYPE_CHECKING:
    from ray.util.state import StateApiClient

CONNECT_SECONDS, ANSWER_SECONDS = 5, 30
SHORT_LOG_BYTES = 4 << 20
AGENT_SECONDS = 120  # a cluster that has just started answers before an agent can take its first job

logging.getLogger("ray.dashboard.modules.job.sdk").setLevel(logging.WARNING)  # it warns at every closed stream


class RayClient(JobSubmissionClient):
    """Jobs API of one cluster. Every call may raise RayUnreachable."""

    @classmethod
    def connect(cls, url: str, token: str | None, verify: bool | str) -> "RayClient":
        """A client of the cluster at ``url``; token and verify as in :class:`airflow_ray.cluster.Cluster`.

        Raises:
            RayUnreachable: no Ray answers there.
            RayRefused: it refuses the token.
        """
        headers = {"Authorization": f"Bearer {token}"} if token else None
        try:
            return cls(url, headers=headers, verify=verify)
        except AuthenticationError as error:
            raise RayRefused(f"Ray at {url} refuses the token. Remedy: correct the connection's password") from error
        except (ConnectionError, RuntimeError) as error:
            raise RayUnreachable(f"no Ray at {url}: {str(error).strip().splitlines()[0]}") from error

    def _do_request(self, method: str, endpoint: str, **keywords: Any) -> requests.Response:
        # Ray's client sets no time limit: a head that hangs would hang the task for ever.
        keywords.setdefault("timeout", (CONNECT_SECONDS, ANSWER_SECONDS))
        try:
            answer = super()._do_request(method, endpoint, **keywords)
        except requests.RequestException as error:
            raise RayUnreachable(f"no answer from {self.get_address()}: {type(error).__name__}") from error
        if answer.status_code in (502, 503, 504):  # what proxies say while the head is away
            raise RayUnreachable(f"{self.get_address()} answered {answer.status_code}")
        return answer

    def find(self, submission_id: str) -> JobDetails | None:
        """The job, or None where the cluster does not know it."""
        try:
            return self.get_job_info(submission_id)
        except RuntimeError as error:
            if "status code 404" in str(error):
                return None
            raise RayUnreachable(str(error)) from error

    def submit_once(self, **job: Any) -> None:
        """Submit a job. If a job of this id exists, an earlier submission got through and only its answer was lost.

        Raises:
            RuntimeError: the cluster refuses the job.
            RayUnreachable: also when the cluster has had no agent for AGENT_SECONDS.
        """
        deadline = time.monotonic() + AGENT_SECONDS
        while True:
            try:
                self.submit_job(**job)
                return
            except RuntimeError as error:
                if "already exists" in str(error):
                    return
                if "No available agent" not in str(error):
                    raise
                if time.monotonic() > deadline:
                    raise RayUnreachable(f"{self.get_address()} has no agent that takes jobs") from error
            time.sleep(1)

    def stop_and_wait(self, submission_id: str, seconds: float) -> bool:
        """Stop a job, and wait until it has ended and its actors and placement groups are gone.

        Returns:
            Whether all of that happened within ``seconds``.
        """
        deadline = time.monotonic() + seconds
        details = self.find(submission_id)
        while details is not None and not details.status.is_terminal():
            self._ask_to_stop(submission_id)
            if not wait_until(lambda: (d := self.find(submission_id)) is None or d.status.is_terminal(), deadline):
                return False
            details = self.find(submission_id)
        return details is None or not self.wait_for_release(details, deadline)

    def wait_for_release(self, details: JobDetails, deadline: float) -> list[str]:
        """Wait for the leftovers of an ended job; returns what is still there at the deadline (``time.monotonic``)."""
        while (left := self.leftovers(details)) and time.monotonic() < deadline:
            time.sleep(0.2)
        return left

    def _ask_to_stop(self, submission_id: str) -> None:
        try:
            self.stop_job(submission_id)
        except RuntimeError as error:  # not there yet, or not any more: the caller looks again
            logging.getLogger(__name__).debug("stop of %s: %s", submission_id, error)

    @cached_property
    def _state(self) -> "StateApiClient":
        from ray.util.state import StateApiClient

        return StateApiClient(self.get_address(), headers=dict(self._headers))

    def leftovers(self, details: JobDetails) -> list[str]:
        """Actors and placement groups of a job that still hold resources, such as ``actor TrainWorker 0f3a…``."""
        from ray.util.state.common import ListApiOptions, StateResource

        if not (job_id := details.job_id):
            return []

        def alive(resource: StateResource, job_key: str, end: str) -> list[Any]:
            options = ListApiOptions(limit=1000, filters=[(job_key, "=", job_id), ("state", "!=", end)])
            return self._state.list(resource, options, raise_on_missing_output=False)

        try:
            actors = alive(StateResource.ACTORS, "job_id", "DEAD")
            groups = alive(StateResource.PLACEMENT_GROUPS, "creator_job_id", "REMOVED")
        except Exception as error:
            raise RayUnreachable(f"{self.get_address()} does not list actors: {error}") from error
        found = [f"actor {a.class_name} {a.actor_id[:8]}" for a in actors]
        return found + [f"placement group {g.placement_group_id[:8]}" for g in groups]

    def short_log(self, submission_id: str) -> str | None:
        """The whole log, or None where it is longer than SHORT_LOG_BYTES or gone."""
        received = bytearray()
        with self._do_request("GET", f"/api/jobs/{submission_id}/logs", stream=True) as answer:
            if answer.status_code != 200:
                return None
            try:
                for chunk in answer.iter_content(1 << 16):
                    received += chunk
                    if len(received) > SHORT_LOG_BYTES:
                        return None
            except requests.RequestException as error:
                raise RayUnreachable(f"{self.get_address()} broke off: {type(error).__name__}") from error
        return str(json.loads(received)["logs"])

    def version(self) -> str:
        """Version of Ray on the cluster."""
        return str(self._do_request("GET", "/api/version").json()["ray_version"])

    def describe(self) -> str:
        """Version, address and resources, such as ``Ray 2.60.0 at http://127.0.0.1:8265: 1 node, 2 CPU, 0 GPU``."""
        return f"Ray {self.version()} at {self.get_address()}: {self.resources()}"

    def nodes(self) -> list[dict[str, float]]:
        """What each node has in all, used or not, such as ``{"CPU": 32.0, "GPU": 4.0, "memory": 1.3e11}``."""
        status = self._do_request("GET", "/api/cluster_status").json()["data"]["clusterStatus"]
        usage = status["loadMetricsReport"]["usageByNode"] or {}
        return [{name: total for name, (_, total) in node.items()} for node in usage.values()]

    def labels(self) -> dict[str, dict[str, str]]:
        """Labels of each living node, by its address; what its ``ray start`` was given, and Ray's own."""
        from ray.util.state.common import ListApiOptions, StateResource

        options = ListApiOptions(limit=1000, filters=[("state", "=", "ALIVE")], detail=True)
        try:
            nodes = self._state.list(StateResource.NODES, options, raise_on_missing_output=False)
        except Exception as error:
            raise RayUnreachable(f"{self.get_address()} does not list nodes: {error}") from error
        found: list[Any] = list(nodes)
        return {node.node_ip: dict(node.labels or {}) for node in found}

    def resources(self) -> str:
        """What the cluster has, such as ``2 nodes, 64 CPU, 8 GPU``."""
        nodes = self.nodes()
        cpus, gpus = (sum(node.get(kind, 0) for node in nodes) for kind in ("CPU", "GPU"))
        return f"{len(nodes)} node{'s' * (len(nodes) != 1)}, {cpus:g} CPU, {gpus:g} GPU"


def wait_until(done: Callable[[], bool], deadline: float) -> bool:
    """Ask until the answer is yes or the deadline (``time.monotonic``) has passed."""
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True
