"""Ray's own Jobs client, with a time limit on every request and the few questions that an operator asks.

Ray takes over a second to import: only code that handles a job imports this module.
"""

import json
import logging
import shlex
import time
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import requests
from ray.job_submission import JobDetails  # noqa: TID253

from airflow_ray.errors import RayRefused, RayUnreachable
from airflow_ray.transport import Transport

if TYPE_CHECKING:
    from ray.util.state import StateApiClient

    from airflow_ray.cluster import Cluster

SHORT_LOG_BYTES = 4 << 20
PENDING_SECONDS = 2.0  # within which a job starts that waits for nothing
AGENT_SECONDS = 120  # a cluster that has just started answers before an agent can take its first job

# Both names are Ray's own (ray/dashboard/modules/job/common.py), the same in all releases since 2.9.
WITHDRAW = """
import ray
ray.init(log_to_driver=False)
try:
    ray.kill(ray.get_actor("_ray_internal_job_actor_{submission_id}", namespace="SUPERVISOR_ACTOR_RAY_NAMESPACE"))
except ValueError:
    pass  # it has ended
"""

logging.getLogger("ray.dashboard.modules.job.sdk").setLevel(logging.WARNING)  # it warns at every closed stream


class RayClient(Transport):
    """Jobs API of one cluster. Every call may raise RayUnreachable."""

    @classmethod
    def connect(cls, cluster: "Cluster") -> "RayClient":
        """
        Raises:
            RayUnreachable: no Ray answers there.
            RayRefused: the token or the certificate is not accepted, on one side or the other.
        """
        try:
            return cls(cluster)
        except RayUnreachable as error:
            raise RayUnreachable(f"no Ray at {cluster.url}: {error}") from error
        except (RuntimeError, OSError, KeyError, ValueError) as error:
            if isinstance(error, RayRefused):
                raise
            raise RayUnreachable(f"no Ray at {cluster.url}: {str(error).strip().splitlines()[0]}") from error

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

        A job that still waits for resources, or for its environment, cannot be reached by Ray's stop: Ray passes that on
        to the process that the job waits for. What it waits for is withdrawn then (:meth:`_withdraw`), and it has FAILED.

        Returns:
            Whether all of that happened within ``seconds``.
        """
        deadline = time.monotonic() + seconds
        withdraw_at = time.monotonic() + PENDING_SECONDS
        while (details := self.find(submission_id)) is not None and not details.status.is_terminal():
            self._ask_to_stop(submission_id)
            moved = partial(self._has_moved, submission_id, details.status)
            if details.status == "PENDING" and not wait_until(moved, min(withdraw_at, deadline)):
                self._withdraw(submission_id)
            if not wait_until(moved, deadline):
                return False
        return details is None or not self.wait_for_release(details, deadline)

    def _has_moved(self, submission_id: str, status: Any) -> bool:
        details = self.find(submission_id)
        return details is None or details.status.is_terminal() or details.status != status

    def _withdraw(self, submission_id: str) -> None:
        """End a job's supervisor, the actor that waits for the job's resources, through a job that needs none."""
        code = WITHDRAW.format(submission_id=submission_id)
        try:
            self.submit_job(
                entrypoint=shlex.join(["python", "-c", code]),
                submission_id=f"{submission_id}-withdraw-{time.time_ns()}",
                metadata={"withdraws": submission_id},
            )
        except RuntimeError as error:  # the caller sees that the job stays
            logging.getLogger(__name__).debug("withdrawing %s: %s", submission_id, error)

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

        state = StateApiClient.__new__(StateApiClient)  # its constructor knows no CA file, and RAY_ADDRESS overrules it
        state.__dict__.update(_address=self._address, _do_request=self._do_request)
        return state

    def leftovers(self, details: JobDetails) -> list[str]:
        """Actors and placement groups of a job that still hold resources, such as ``actor TrainWorker 0f3a…``."""
        if not (job_id := details.job_id):
            return []
        actors = self._list("actors", ("job_id", "=", job_id), ("state", "!=", "DEAD"))
        groups = self._list("placement_groups", ("creator_job_id", "=", job_id), ("state", "!=", "REMOVED"))
        found = [f"actor {a.class_name} {a.actor_id[:8]}" for a in actors]
        return found + [f"placement group {g.placement_group_id[:8]}" for g in groups]

    def _list(self, kind: str, *filters: tuple[str, str, str], detail: bool = False) -> list[Any]:
        from ray.util.state.common import ListApiOptions, StateResource

        options = ListApiOptions(limit=1000, filters=list(filters), detail=detail)
        try:
            return list(self._state.list(StateResource(kind), options, raise_on_missing_output=False))
        except (RayUnreachable, RayRefused):
            raise
        except Exception as error:
            raise RayUnreachable(f"{self.get_address()} does not list {kind}: {error}") from error

    def short_log(self, submission_id: str) -> str | None:
        """The whole log, or None where it is longer than SHORT_LOG_BYTES or gone."""
        received = bytearray()
        for chunk in self._log_chunks(submission_id):
            received += chunk
            if len(received) > SHORT_LOG_BYTES:
                return None
        return str(json.loads(received)["logs"]) if received else None

    def log_end(self, submission_id: str, limit: int) -> str:
        """At least the last ``limit`` bytes of the log, from the start of a line; empty where it is gone."""
        received = bytearray()
        cut = False
        for chunk in self._log_chunks(submission_id):
            received += chunk
            if len(received) > 8 * limit:  # escaped in JSON, a character takes up to six bytes
                del received[: -6 * limit]
                cut = True
        if not cut:
            return str(json.loads(received)["logs"]) if received else ""
        # The middle of a JSON string: it can be read from the end of a line on, which may itself be an escaped backslash.
        text = received.decode("ascii", errors="replace").rstrip()
        while text:
            _, _, text = text.partition("\\n")
            try:
                return str(json.loads('{"logs":"' + text)["logs"])
            except ValueError:
                continue
        return ""

    def _log_chunks(self, submission_id: str) -> Iterator[bytes]:
        with self._do_request("GET", f"/api/jobs/{submission_id}/logs", stream=True) as answer:
            if answer.status_code != 200:
                return
            try:
                yield from answer.iter_content(1 << 16)
            except requests.RequestException as error:
                raise RayUnreachable(f"{self.get_address()} broke off: {type(error).__name__}") from error

    def version(self) -> str:
        """Version of Ray on the cluster."""
        return str(self._do_request("GET", "/api/version").json()["ray_version"])

    def describe(self) -> str:
        """Version, address and resources, such as ``Ray 2.60.0 at http://127.0.0.1:8265: 1 node, 2 CPU, 0 GPU``."""
        return f"Ray {self.version()} at {self.get_address()}: {self.resources()}"

    def nodes(self) -> list[dict[str, float]]:
        """What each node has in all, used or not, such as ``{"CPU": 32.0, "GPU": 4.0, "memory": 1.3e11}``."""
        return [{name: total for name, (_, total) in node.items()} for node in self._usage()]

    def free(self) -> list[dict[str, tuple[float, float]]]:
        """Free and total amounts of each node, such as ``{"CPU": (0.0, 2.0)}``."""
        return [{name: (total - used, total) for name, (used, total) in node.items()} for node in self._usage()]

    def _usage(self) -> list[dict[str, tuple[float, float]]]:
        status = self._do_request("GET", "/api/cluster_status").json()["data"]["clusterStatus"]
        return list((status["loadMetricsReport"]["usageByNode"] or {}).values())

    def labels(self) -> dict[str, dict[str, str]]:
        """Labels of each living node, by its address; what its ``ray start`` was given, and Ray's own."""
        nodes = self._list("nodes", ("state", "=", "ALIVE"), detail=True)
        return {node.node_ip: dict(node.labels or {}) for node in nodes}

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
