"""Links from a task's page in the Airflow UI."""

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator


class RayJobLink(BaseOperatorLink):
    """The job's page on the Ray dashboard. The operator stores it before the job runs, not when the task ends."""

    name = "Ray job"

    def get_link(self, operator: "BaseOperator", *, ti_key: Any) -> str:
        return getattr(operator, "job_url", "")
