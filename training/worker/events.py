"""Events that workers report while they train, and the driver's log lines about them."""

import logging
import threading
from collections import Counter
from typing import Any

from handoff.errors import BatonError, InfrastructureError
from handoff.job import Progress
from registry.tracking import LiveRun
from training.config import TrainingConfig

log = logging.getLogger("baton")

POLL_SECONDS = 1.0
WAITING_AFTER_SECONDS = 60.0  # a start takes 15 to 35 s: past this it waits for somebody else's workers


class Events:
    """An actor that queues the workers' events until the driver reads them. Workers never wait for the driver."""

    def __init__(self) -> None:
        self._events: list[tuple[str, Any]] = []
        self._failure: BatonError | InfrastructureError | None = None
        self._failures = 0
        self._joined: Counter[int] = Counter()

    def joined(self, rank: int) -> int:
        """Times this rank has joined, including now: 1 in the first group of workers."""
        self._joined[rank] += 1
        return self._joined[rank]

    def started(self, step: int, damaged: list[str], workers: int) -> None:
        """A worker group starts after ``step`` steps; ``damaged`` says what is wrong with newer checkpoints."""
        self._events.append(("started", (step, damaged, workers)))

    def stepped(self, entry: dict[str, Any]) -> None:
        """One optimizer step: an entry of the trace, see ``Trainer.run``."""
        self._events.append(("stepped", entry))

    def saved(self, step: int) -> None:
        """A checkpoint is complete."""
        self._events.append(("saved", step))

    def failed(self, error: BatonError | InfrastructureError) -> None:
        """Training ends with an error that a restart would meet again; the first one reported is kept."""
        self._failure = self._failure or error
        self._failures += 1

    def failures(self) -> int:
        """Ranks that have reported why they cannot go on."""
        return self._failures

    def failure(self) -> BatonError | InfrastructureError | None:
        """The error that a restart would meet again, or None."""
        return self._failure

    def since(self, number: int) -> list[tuple[str, Any]]:
        """Events from ``number`` on."""
        return self._events[number:]


class EventLogger(threading.Thread):
    """Logs the events as they come, until closed.

    Args:
        events: handle of the :class:`Events` actor.
        config: the training section.
        total_steps: of the run.
        live: MLflow run that receives each step, where there is one.

    Attributes:
        attempts: times a worker group started to train.
        failures: of these, restarts after a lost worker.
    """

    def __init__(self, events: Any, config: TrainingConfig, total_steps: int, live: LiveRun | None = None) -> None:
        super().__init__(daemon=True)
        self._events, self._config, self._total, self._live = events, config, total_steps, live
        self._closed = threading.Event()
        self._seen = 0
        self._progress: Progress | None = None
        self._last_step = 0
        self._workers = 0
        self.attempts = 0
        self.failures = 0

    def __enter__(self) -> "EventLogger":
        self.start()
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        self._closed.set()
        self.join()
        if failure is None:  # else the actor may be gone with the cluster, and there is an error to show
            self._read()
        if self._live:
            self._live.end() if failure is None else self._live.failed()

    def run(self) -> None:
        waited = 0.0
        if self._live:
            self._live.begin()
        while not self._closed.wait(POLL_SECONDS):
            self._read()
            waited += POLL_SECONDS
            if self.attempts == 0 and waited % WAITING_AFTER_SECONDS < POLL_SECONDS:
                log.info("train: workers have not started after %.0f s; other work may hold their CPUs or GPUs", waited)

    def _read(self) -> None:
        import ray

        events = ray.get(self._events.since.remote(self._seen))
        self._seen += len(events)
        for kind, content in events:
            getattr(self, f"_on_{kind}")(content)

    def _on_started(self, at: tuple[int, list[str], int]) -> None:
        step, damaged, workers = at
        self.attempts += 1
        for why in damaged:
            log.warning("train: %s; it is passed over", why)
        place = f"the checkpoint of step {step}" if step else "the beginning"
        group = f"{workers} worker{'s' * (workers != 1)}"
        if self._workers and workers > self._workers:
            log.info("train: there is room for more; %s (%d before) from %s", group, self._workers, place)
        elif self._workers:
            self.failures += 1
            fewer = f" with {group} ({self._workers} before)" if workers < self._workers else ""
            log.info(
                "train: a worker was lost after step %d; restart %d of %d from %s%s",
                self._last_step, self.failures, self._config.max_failures, place, fewer,
            )  # fmt: skip
        elif step:
            log.info("train: resumed from %s", place)
        else:
            log.info("train: %s %s ready", group, "is" if workers == 1 else "are")
        self._workers = workers
        self._progress = Progress("train", "steps", self._total, done_before=step)

    def _on_stepped(self, entry: dict[str, Any]) -> None:
        assert self._progress
        if "validation_loss" in entry:
            log.info("train: step %d · validation loss %.3f", entry["step"], entry["validation_loss"])
        self._last_step = entry["step"]
        if self._live:
            self._live.step(entry)
        self._progress.add(
            1,
            f"{entry['tokens_per_second']:,.0f} tokens/s · loss {entry['loss']:.3f} · lr {entry['learning_rate']:.1e}",
        )

    def _on_saved(self, step: int) -> None:
        log.info("train: checkpoint of step %d is written, its upload goes on beside", step)
