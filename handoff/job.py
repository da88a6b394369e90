"""The one shape of a job: ``python -m <package>.job RUN_DIR`` reads, works, publishes, records, and exits with a code."""

import io
import logging
import sys
import time
from collections.abc import Callable

from handoff.causes import cause_of, safe_text, safe_traceback
from handoff.errors import EXIT_FAILED, EXIT_INFRASTRUCTURE, EXIT_INTERRUPTED, EXIT_USER_ERROR
from handoff.publish import DISK_FULL
from handoff.run_dir import RunDir, StageRecord

log = logging.getLogger("baton")


def set_up_logging() -> None:
    """One plain line per message on standard output; engines' own loggers speak from WARNING up."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a lone surrogate in a message must not hide it
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout, force=True)
    log.setLevel(logging.INFO)


def run_stage(name: str, body: Callable[[RunDir, StageRecord], None], arguments: list[str]) -> int:
    """Run a stage's body on the run directory that the command line names.

    Returns:
        Exit code: 0; 2 where the user must fix something and 75 where it may pass by itself (one ERROR line each, with
        a traceback before it where the error is none of ours); 1 for anything else. Only after 2 a retry cannot help.
    """
    if len(arguments) != 1:
        print("usage: python -m <job> RUN_DIR", file=sys.stderr)
        return EXIT_USER_ERROR
    set_up_logging()
    try:
        run = RunDir(arguments[0])
        log.info("%s · run %s", name, run.name)
        with run.stage(name) as record:
            body(run, record)
    except KeyboardInterrupt:
        log.error("ERROR %s: it was interrupted", name)
        return EXIT_INTERRUPTED
    except BaseException as error:  # SystemExit too: a stage that did not reach its end has failed, whatever its code
        return _failed(name, error)
    log.info("%s done in %.1f s: %s", name, record.seconds, record.headline)
    return 0


def _failed(name: str, error: BaseException) -> int:
    cause = cause_of(error)
    if not cause.explained:
        print(safe_traceback(error), flush=True)
    if cause.kind == "unknown" and "No space left on device" in safe_text(error):
        log.error("ERROR %s: the disk is full; nothing was published. Remedy: %s", name, DISK_FULL)
    else:
        log.error("ERROR %s: %s", name, cause.sentence)
    return {"user": EXIT_USER_ERROR, "outside": EXIT_INFRASTRUCTURE, "unknown": EXIT_FAILED}[cause.kind]


class Progress:
    """One line every few seconds on long work: done of total, rate, time left.

    Args:
        label: what is being done, such as ``train``.
        unit: of the counted work, such as ``tokens`` or ``rows``.
        total: how much there is; None where it is not known.
        every_seconds: least time between two lines.
        started_ago: seconds that the work has been under way already.
        done_before: how much of the total an earlier attempt did; not part of the rate.
    """

    def __init__(
        self,
        label: str,
        unit: str,
        total: int | None,
        every_seconds: float = 5.0,
        started_ago: float = 0.0,
        done_before: int = 0,
    ) -> None:
        self._label, self._unit, self._total, self._every = label, unit, total, every_seconds
        self._start = self._last = time.monotonic() - started_ago
        self.done = self._before = done_before

    def add(self, amount: int, detail: str = "") -> None:
        """Count work done; prints when it is time, and at the end."""
        self.done += amount
        moment = time.monotonic()
        if moment - self._last >= self._every or self.done == self._total:
            self._last = moment
            log.info("%s", self._line(moment, detail))

    def _line(self, moment: float, detail: str) -> str:
        rate = (self.done - self._before) / max(moment - self._start, 1e-9)
        of = f"/{self._total:,}" if self._total else ""
        line = f"{self._label}: {self.done:,}{of} {self._unit} · {rate:,.1f} {self._unit}/s"
        if self._total:
            line += f" · {(self._total - self.done) / max(rate, 1e-9):.0f} s left"
        return f"{line} · {detail}" if detail else line
