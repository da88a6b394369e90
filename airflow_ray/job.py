"""What a task says of its job: the arguments of RayJobOperator, checked, and the submission that is made of them."""

import shlex
from collections.abc import Collection, Sequence
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator, conf
from airflow.sdk.exceptions import AirflowFailException

from airflow_ray import checks
from airflow_ray.arguments import arguments, no_list
from airflow_ray.cluster import Cluster
from airflow_ray.package import pack_tracked_files
from airflow_ray.runtime_env import merge
from airflow_ray.work import Work

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_ray.client import RayClient


class RayJob(BaseOperator):
    """An operator's job; the arguments are described at :class:`airflow_ray.operator.RayJobOperator`."""

    template_fields: Sequence[str] = (
        "entrypoint",
        "conn_id",
        "runtime_env",
        "working_dir",
        "entrypoint_num_cpus",
        "entrypoint_num_gpus",
        "entrypoint_memory",
        "entrypoint_resources",
        "entrypoint_label_selector",
        "metadata",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"runtime_env": "json", "metadata": "json"}

    def __init__(
        self,
        *,
        entrypoint: Sequence[Any],
        conn_id: str = "ray_default",
        runtime_env: dict[str, Any] | None = None,
        working_dir: str | None = None,
        entrypoint_num_cpus: float | str = 0,
        entrypoint_num_gpus: float | str = 0,
        entrypoint_memory: int | str | None = None,
        entrypoint_resources: dict[str, float] | None = None,
        entrypoint_label_selector: dict[str, str] | None = None,
        metadata: dict[str, str] | None = None,
        wait_for_completion: bool = True,
        xcom_result: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        durable: bool = True,
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
        self.entrypoint_label_selector = entrypoint_label_selector
        self.metadata = metadata
        self.wait_for_completion = checks.flag("wait_for_completion", wait_for_completion)
        self.xcom_result = checks.flag("xcom_result", xcom_result)
        if xcom_result and not wait_for_completion:
            raise ValueError("xcom_result needs the job's end. Remedy: take it out, or wait_for_completion=False")
        self.deferrable = checks.flag("deferrable", deferrable)
        self.durable = checks.flag("durable", durable)
        self.poll_interval = checks.number("poll_interval", poll_interval, above=0)
        self.patience = checks.duration("patience", patience)
        self.stop_timeout = checks.duration("stop_timeout", stop_timeout)
        self.no_retry_exit_codes = checks.exit_codes("no_retry_exit_codes", no_retry_exit_codes)
        self._checked()

    def _checked(self) -> dict[str, Any]:
        """What of the job the templated arguments say, as Ray's client takes it; unrendered templates stay as they are."""
        checks.text("conn_id", self.conn_id, needed=True)
        environment = checks.mapping("runtime_env", self.runtime_env) or {}
        directory = checks.text("working_dir", self.working_dir)
        if directory and isinstance(environment, dict) and environment.get("working_dir"):
            raise ValueError("working_dir is given twice, also in runtime_env. Remedy: keep one of them")
        metadata = checks.texts("metadata", self.metadata) or {}
        if isinstance(metadata, dict) and (taken := sorted(metadata.keys() & {f.name for f in fields(Work)})):
            raise ValueError(
                f"metadata has {taken[0]!r}, by which the job of a task is found. Remedy: take another name"
            )
        memory = self.entrypoint_memory
        return {
            "runtime_env": environment,
            "metadata": metadata,
            "entrypoint_num_cpus": checks.number("entrypoint_num_cpus", self.entrypoint_num_cpus),
            "entrypoint_num_gpus": checks.number("entrypoint_num_gpus", self.entrypoint_num_gpus),
            "entrypoint_memory": memory if memory is None else checks.number("entrypoint_memory", memory, whole=True),
            "entrypoint_resources": checks.numbers("entrypoint_resources", self.entrypoint_resources),
            "entrypoint_label_selector": checks.texts("entrypoint_label_selector", self.entrypoint_label_selector),
        }

    def _asks(self) -> dict[str, float]:
        """What the driver needs to start."""
        found = self._checked()
        amounts = {
            "CPU": found["entrypoint_num_cpus"],
            "GPU": found["entrypoint_num_gpus"],
            "memory": found["entrypoint_memory"] or 0,
            **(found["entrypoint_resources"] or {}),
        }
        return {name: amount for name, amount in amounts.items() if amount}

    def _command(self, context: "Context") -> list[str]:
        """The job's command, one argument an item."""
        return arguments(self.entrypoint)

    def _submit(self, context: "Context", client: "RayClient", cluster: Cluster, work: Work, name: str) -> None:
        archive: Path | None = None
        try:
            job = self._checked()
            environment = merge(cluster.runtime_env, job["runtime_env"])
            directory = self.working_dir
            if not directory and not job["runtime_env"].get("working_dir"):
                directory = cluster.working_dir
            if directory:
                archive = pack_tracked_files(directory)
                environment["working_dir"] = str(archive)
            job.update(runtime_env=environment or None, metadata={**job["metadata"], **work.metadata()})
            client.submit_once(entrypoint=shlex.join(self._command(context)), submission_id=name, **job)
        except (ValueError, TypeError) as error:
            raise AirflowFailException(str(error)) from error
        finally:
            if archive:
                archive.unlink()
