"""An API server of Airflow's that is away: what is needed waits for it, what is optional does without."""

import logging
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse

from airflow_ray import patience
from airflow_ray.patience import PatientStore, optional, patiently

LOG = logging.getLogger(__name__)


def error(kind: ErrorType, status: int | None) -> AirflowRuntimeError:
    """As the supervisor hands it to the task."""
    return AirflowRuntimeError(ErrorResponse(error=kind, detail={"status_code": status, "message": "x"}))


AWAY = error(ErrorType.API_SERVER_ERROR, None)


class Store(dict[str, Any]):
    """A task state store whose server answers after a number of calls."""

    def __init__(self, failing: int, failure: Exception = AWAY) -> None:
        super().__init__()
        self.failing, self.failure = failing, failure

    def _call(self) -> None:
        self.failing -= 1
        if self.failing >= 0:
            raise self.failure

    def get(self, key: str, default: Any = None) -> Any:
        self._call()
        return super().get(key, default)

    def set(self, key: str, value: Any) -> None:
        self._call()
        self[key] = value


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience.time, "sleep", lambda seconds: None)


@pytest.mark.parametrize("failure", [AWAY, error(ErrorType.API_SERVER_ERROR, 503)])
def test_a_needed_call_waits_until_the_server_is_back(failure: Exception) -> None:
    store = Store(3, failure)
    PatientStore(store, LOG).set("ray_job", 1)
    assert PatientStore(store, LOG).get("ray_job") == 1


@pytest.mark.parametrize("kind", [ErrorType.PERMISSION_DENIED, ErrorType.API_SERVER_ERROR])
def test_a_call_that_is_refused_is_not_made_again(kind: ErrorType) -> None:
    store = Store(1, error(kind, 403))
    with pytest.raises(AirflowRuntimeError):
        PatientStore(store, LOG).get("ray_job")
    assert store.failing == 0


def test_patience_ends() -> None:
    with pytest.raises(AirflowRuntimeError):
        patiently(lambda: Store(1).get("x"), LOG, seconds=-1)


def test_an_optional_call_costs_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    store = Store(1)
    optional(lambda: store.set("ray_log", 5), LOG, "the position")
    assert store == {} and "the position was not saved" in caplog.text
