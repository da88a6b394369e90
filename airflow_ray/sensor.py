"""RayJobSensor: waits for a job that another task has started."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.exceptions import AirflowFailException

from airflow_ray import checks
from airflow_ray.errors import RayRefused, RayUnreachable
from airflow_ray.hook import RayHook
from airflow_ray.result import END_BYTES, failure, result

if TYPE_CHECKING:
    from airflow.sdk import Context


class RayJobSensor(BaseSensorOperator):
    """Succeed when a job has succeeded, fail when it has failed, was stopped or is not known.

    It looks and does not touch: the end of the sensor, by whatever cause, leaves the job alone. A cluster that does not
    answer is asked again at the next poke, until the sensor's ``timeout``.

    Args:
        submission_id: of the job, such as the output of a RayJobOperator with ``wait_for_completion=False``.
        conn_id: connection of type ``ray``.
        xcom_result: push the job's result, as RayJobOperator returns it.
        mode: ``reschedule`` unless given: it holds no worker slot between pokes.

    Raises:
        AirflowFailException: the job did not succeed; the message has the tail of its log.
    """

    template_fields: Sequence[str] = ("submission_id", "conn_id")
    ui_color = "#dbeef7"

    def __init__(
        self,
        *,
        submission_id: str,
        conn_id: str = "ray_default",
        xcom_result: bool = False,
        mode: str = "reschedule",
        **kwargs: Any,
    ) -> None:
        super().__init__(mode=mode, **kwargs)
        self.submission_id = checks.text("submission_id", submission_id, needed=True)
        self.conn_id = checks.text("conn_id", conn_id, needed=True)
        self.xcom_result = checks.flag("xcom_result", xcom_result)

    def poke(self, context: "Context") -> bool | PokeReturnValue:
        job = self.submission_id
        try:
            client = RayHook(self.conn_id).get_conn()
            details = client.find(job)
            if details is None:
                raise AirflowFailException(f"Ray does not know job {job}. Remedy: clear the task that starts it")
            self.log.info("Ray job %s is %s", job, str(details.status).lower())
            if not details.status.is_terminal():
                return False
            end = client.log_end(job, END_BYTES)
            if details.status != "SUCCEEDED":
                raise AirflowFailException(failure(job, details, end.splitlines()))
            return PokeReturnValue(True, result(job, end) if self.xcom_result else None)
        except RayUnreachable as error:
            self.log.warning("%s; trying again", error)
            return False
        except (RayRefused, ValueError) as error:
            raise AirflowFailException(str(error)) from error
