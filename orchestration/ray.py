"""RayStageOperator: a stage of a run as a job on Ray."""

from airflow_ray.links import RayJobLink
from airflow_ray.operator import RayJobOperator
from orchestration.links import ReportLink


class RayStageOperator(RayJobOperator):
    """RayJobOperator, with the run's report among the task's links."""

    operator_extra_links = (RayJobLink(), ReportLink())  # type: ignore[assignment]
