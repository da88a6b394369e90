"""Which job belongs to a task: its name, how it is found again, and when a new one is due."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from airflow_ray.patience import PatientStore

if TYPE_CHECKING:
    from ray.job_submission import JobDetails

    from airflow_ray.client import RayClient

JOB_KEY, LOG_KEY = "ray_job", "ray_log"  # of the task state store
NAME_CHARACTERS = 120


class TaskStateStore(Protocol):
    """Airflow's task state store: survives retries and clears of one task instance."""

    def get(self, key: str, default: Any = None) -> Any: ...

    def set(self, key: str, value: Any) -> None: ...


@dataclass(frozen=True)
class Work:
    """One task instance between two clears: all its retries share it, a clear begins a new one.

    Airflow counts the clears of a DAG run (``clear_number``). A clear of *another* task of the run counts too; it
    matters only to a task whose worker died at that time, which then starts again in place of going on.
    """

    namespace: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    clear_number: int

    @classmethod
    def of(cls, context: Any, namespace: str) -> "Work":
        instance = context["ti"]
        clear_number = context["dag_run"].clear_number or 0
        return cls(namespace, instance.dag_id, instance.run_id, instance.task_id, instance.map_index, clear_number)

    def submission_id(self, number: int) -> str:
        """Name of this work's job ``number``: readable, safe in a path, different for different tasks."""
        mapped = f"-{self.map_index}" if self.map_index >= 0 else ""
        readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{self.dag_id}-{self.run_id}-{self.task_id}{mapped}")
        return f"{readable[:NAME_CHARACTERS]}-{self._digest}-c{self.clear_number}-n{number}"

    @property
    def _digest(self) -> str:
        parts = [self.namespace, self.dag_id, self.run_id, self.task_id, str(self.map_index)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]

    def metadata(self) -> dict[str, str]:
        return {key: str(value) for key, value in asdict(self).items()}

    def is_of_same_task(self, details: "JobDetails") -> bool:
        found = details.metadata or {}
        return all(found.get(k) == v for k, v in self.metadata().items() if k != "clear_number")


@dataclass(frozen=True)
class Settled:
    """The job that a task follows.

    Attributes:
        submission_id: its name.
        how: ``submitted`` now; ``attached`` to one that lives; ``adopted``, one that has succeeded already.
        position: characters of its log that an earlier attempt has shown.
    """

    submission_id: str
    how: str
    position: int


def settle(
    client: "RayClient",
    work: Work,
    state_store: TaskStateStore,
    submit: Callable[[str], None],
    *,
    stop_seconds: float,
    log: Any,
    durable: bool = True,
) -> Settled:
    """Find this work's job, or submit one. There is never a second job.

    The name is remembered *before* the job is submitted, and Ray refuses a name that it knows: whoever dies between
    the two, or loses Ray's answer, finds exactly that job, or none, under exactly that name.

    Args:
        client: of the cluster.
        work: what the job is for.
        state_store: Airflow's, of the task.
        submit: submits a job of the given name, or finds it submitted.
        stop_seconds: how long a job that is left over may take to end.
        log: says what was found.
        durable: whether this attempt goes on with an earlier attempt's job; else that job is stopped and a new one is
            submitted.

    Raises:
        RuntimeError: a job that is left over does not end; or Ray refuses the job.
        RayUnreachable: no answer.
    """
    state_store = PatientStore(state_store, log)
    saved = state_store.get(JOB_KEY) or {}
    ours = saved if durable and saved.get("clear_number") == work.clear_number else {}
    for other in client.list_jobs():
        if (
            work.is_of_same_task(other)
            and not other.status.is_terminal()
            and other.submission_id != ours.get("submission_id")
        ):
            log.warning(
                "job %s of this task, from before it was %s, is still there: stopping it",
                other.submission_id,
                "cleared" if durable else "tried again",
            )
            if not client.stop_and_wait(str(other.submission_id), stop_seconds):
                raise RuntimeError(
                    f"job {other.submission_id} did not end within {stop_seconds:.0f} s of being stopped"
                )

    number = int(ours.get("number", 0))
    name = work.submission_id(number)
    known = client.find(name)
    if ours and known is not None:
        if known.status == "SUCCEEDED":
            log.info("job %s, of an earlier attempt, has succeeded: taking its result", name)
            return Settled(name, "adopted", _position(state_store, name))
        if not known.status.is_terminal():
            log.info("job %s, of an earlier attempt, is %s: following it", name, str(known.status).lower())
            return Settled(name, "attached", _position(state_store, name))
        log.info("job %s, of an earlier attempt, has %s: starting a new one", name, str(known.status).lower())
    # Names may be taken where a DAG run was deleted and made again under its old id.
    while known is not None:
        number += 1
        name = work.submission_id(number)
        known = client.find(name)
    state_store.set(JOB_KEY, {"clear_number": work.clear_number, "number": number, "submission_id": name})
    submit(name)
    return Settled(name, "submitted", 0)


def _position(state_store: TaskStateStore, name: str) -> int:
    saved = state_store.get(LOG_KEY) or {}
    return int(saved.get("position", 0)) if saved.get("submission_id") == name else 0
