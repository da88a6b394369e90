"""The MLflow run of a training while it goes on; its promotion completes the same run."""

import logging
import time
from collections.abc import Callable
from typing import Any

from handoff.errors import BatonError, InfrastructureError
from registry.client import experiment_of, open_registry
from registry.mlflow_run import begin_run, log_metrics, step_metrics

log = logging.getLogger("baton")

FLUSH_SECONDS = 5.0
SYSTEM_SECONDS = 10.0  # between two looks at the machine


class LiveRun:
    """Sends each step's metrics to MLflow every few seconds. Training neither waits for MLflow nor fails with it.

    MLflow's own monitor adds processor, memory, disk, network and GPUs of this machine, the driver's, on which
    workers run too unless the cluster keeps it apart.

    If MLflow does not answer, one line of the log says so; the promotion logs what is missing.

    Args:
        name: of the run.
        model_id: id of the model being trained; the run is found again by this tag.
        params: the flattened configuration.
    """

    def __init__(self, name: str, model_id: str, params: dict[str, str]) -> None:
        self._run = (name, model_id, params)
        self._client: Any = None
        self._run_id = ""
        self._waiting: list[tuple[str, float, int, int]] = []
        self._sent = 0.0
        self._lost = False
        self._system: Any = None

    def begin(self) -> None:
        """Find or create the run. Called by the event logger's thread, as importing mlflow takes seconds."""
        self._try(self._begin)

    def step(self, entry: dict[str, Any]) -> None:
        """Metrics of one optimizer step."""
        self._waiting += step_metrics(entry)
        if time.monotonic() - self._sent >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Send the metrics that wait."""
        self._sent = time.monotonic()
        if self._waiting and self._client is not None:
            rows, self._waiting = self._waiting, []
            self._try(lambda: log_metrics(self._client, self._run_id, rows))

    def end(self) -> None:
        """Send what is left; the run goes on to its promotion."""
        self.flush()
        if self._system is not None:
            self._system.finish()

    def failed(self) -> None:
        """Mark the run as failed."""
        self.end()
        if self._client is not None:
            self._try(lambda: self._client.set_terminated(self._run_id, "FAILED"))

    def _begin(self) -> None:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        registry = open_registry()
        name, model_id, params = self._run
        client = registry.client
        self._run_id = begin_run(client, experiment_of(registry), name, model_id, params, int(1000 * time.time()))
        self._client = client
        client.update_run(self._run_id, status="RUNNING")
        log.info("MLflow run: %s, at %s", self._run_id, registry.shown)
        self._system = SystemMetricsMonitor(
            self._run_id, sampling_interval=SYSTEM_SECONDS, resume_logging=True, tracking_uri=registry.uri
        )
        self._system.start()

    def _try(self, act: Callable[[], None]) -> None:
        from mlflow.exceptions import MlflowException

        if self._lost:
            return
        try:
            act()
        except (MlflowException, OSError, BatonError, InfrastructureError) as error:
            self._lost = True
            log.warning("MLflow does not follow this training (%s); its promotion will", str(error).split("\n")[0])
