"""Calls to Airflow's own API server, which may be away for a while: needed ones wait for it, optional ones do without."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType

AIRFLOW_SECONDS = 180.0  # for how long a needed call waits, besides the tries that Airflow makes by itself
Answer = TypeVar("Answer")


def patiently(call: Callable[[], Answer], log: Any, seconds: float = AIRFLOW_SECONDS) -> Answer:
    """What a call returns that the task cannot do without: made again until Airflow answers.

    Raises:
        AirflowRuntimeError: it is refused, or there was no answer for ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except AirflowRuntimeError as error:
            if not _is_away(error) or time.monotonic() > deadline:
                raise
            log.warning("Airflow's API server does not answer (%s); trying for %.0f s", error, seconds)
        time.sleep(2)


def optional(call: Callable[[], Any], log: Any, what: str) -> None:
    """Make a call that the task can do without, once; what comes of its failure is a line in the log."""
    try:
        call()
    except AirflowRuntimeError as error:
        log.warning("%s was not saved: %s", what, error)


class PatientStore:
    """A task state store whose calls wait for Airflow's API server."""

    def __init__(self, store: Any, log: Any) -> None:
        self._store, self._log = store, log

    def get(self, key: str, default: Any = None) -> Any:
        return patiently(lambda: self._store.get(key, default), self._log)

    def set(self, key: str, value: Any) -> None:
        patiently(lambda: self._store.set(key, value), self._log)


def _is_away(error: AirflowRuntimeError) -> bool:
    """Whether the server gave no answer, or one that says that it cannot work now."""
    status = (error.error.detail or {}).get("status_code")
    return error.error.error == ErrorType.API_SERVER_ERROR and (status is None or status >= 500)
