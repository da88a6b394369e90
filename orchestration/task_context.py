"""What the project's tasks ask of Airflow's task context."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import Context

    from handoff.run_dir import RunDir


def run_of(context: "Context") -> "RunDir":
    """The run's directory, as the plan handed it on."""
    from handoff.run_dir import RunDir

    return RunDir(context["ti"].xcom_pull(task_ids="plan"))


def run_type_of(context: "Context") -> str:
    """``manual``, ``scheduled``, ``backfill`` or ``asset_triggered``."""
    run_type = context["dag_run"].run_type
    return str(getattr(run_type, "value", run_type))
