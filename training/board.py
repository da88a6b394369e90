"""What rank 0 tells the driver while it trains, and the driver's log lines made of it."""

import logging
import threading
from typing import Any

from handoff.job import Progress
from training.config import TrainingConfig

log = logging.getLogger("baton")

POLL_SECONDS = 1.0
WAITING_AFTER_SECONDS = 60.0  # a start takes 15 to 35 s: past this it waits for somebody else's workers


class Board:
    """An actor that keeps events until the driver asks; workers never wait for the driver."""

    def __init__(self) -> None:
        self._events: list[tuple[str, Any]] = []

    def started(self, step: int) -> None:
        """An attempt begins after ``step`` steps."""
        self._events.append(("started", step))

    def stepped(self, entry: dict[str, Any]) -> None:
        """One optimizer step: step, loss, learning_rate, tokens, blocks, tokens_per_second, grad_norm, seconds."""
        self._events.append(("stepped", entry))

    def saved(self, step: int) -> None:
        """A checkpoint is complete."""
        self._events.append(("saved", step))

    def diverged(self, message: str) -> None:
        """The loss is not a number; training ended."""
        self._events.append(("diverged", message))

    def since(self, number: int) -> list[tuple[str, Any]]:
        """Events from ``number`` on."""
        return self._events[number:]


class Follower(threading.Thread):
    """Logs what the board says until closed.

    Args:
        board: the actor's handle.
        config: the training section.
        total_steps: of the run.

    Attributes:
        attempts: how often a group of workers started to train.
        diverged: why training stopped early, or None.
    """

    def __init__(self, board: Any, config: TrainingConfig, total_steps: int) -> None:
        super().__init__(daemon=True)
        self._board, self._config, self._total = board, config, total_steps
        self._closed = threading.Event()
        self._seen = 0
        self._progress: Progress | None = None
        self._last_step = 0
        self.attempts = 0
        self.diverged: str | None = None

    def __enter__(self) -> "Follower":
        self.start()
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        self._closed.set()
        self.join()
        if failure is None:  # else the board may be gone with the cluster, and there is an error to show
            self._read()

    def run(self) -> None:
        waited = 0.0
        while not self._closed.wait(POLL_SECONDS):
            self._read()
            waited += POLL_SECONDS
            if self.attempts == 0 and waited % WAITING_AFTER_SECONDS < POLL_SECONDS:
                log.info("train: workers have not started after %.0f s; other work may hold their CPUs or GPUs", waited)

    def _read(self) -> None:
        import ray

        events = ray.get(self._board.since.remote(self._seen))
        self._seen += len(events)
        for kind, content in events:
            getattr(self, f"_on_{kind}")(content)

    def _on_started(self, step: int) -> None:
        self.attempts += 1
        if self.attempts > 1:
            log.info(
                "train: a worker was lost after step %d; restart %d of %d from %s",
                self._last_step,
                self.attempts - 1,
                self._config.max_failures,
                f"the checkpoint of step {step}" if step else "the beginning",
            )
        elif step:
            log.info("train: resumed from the checkpoint of step %d", step)
        else:
            log.info("train: %s workers are ready", self._config.num_workers)
        self._progress = Progress("train", "steps", self._total - step)

    def _on_stepped(self, entry: dict[str, Any]) -> None:
        assert self._progress
        self._last_step = entry["step"]
        self._progress.add(
            1,
            f"step {entry['step']}/{self._total} · {entry['tokens_per_second']:,.0f} tokens/s · "
            f"loss {entry['loss']:.3f} · lr {entry['learning_rate']:.1e}",
        )

    def _on_saved(self, step: int) -> None:
        log.info("train: checkpoint of step %d is complete", step)

    def _on_diverged(self, message: str) -> None:
        self.diverged = message
