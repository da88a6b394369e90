"""Links from a task's page in the Airflow UI to a run's report and to a running Spark's own pages."""

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

from orchestration.paths import run_key

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

REPORT_URL_PREFIX = "/baton"


class ReportLink(BaseOperatorLink):
    """The run's report, served by the Airflow UI to those who may read the DAG."""

    name = "Report"

    def get_link(self, operator: "BaseOperator", *, ti_key: Any) -> str:
        return f"{REPORT_URL_PREFIX}/runs/{ti_key.dag_id}/{run_key(ti_key.run_id)}/report.html"


class SparkUiLink(BaseOperatorLink):
    """The driver's own pages: jobs, stages, plans. They are there while the job runs, and not in cluster mode."""

    name = "Spark UI (while it runs)"

    def get_link(self, operator: "BaseOperator", *, ti_key: Any) -> str:
        return getattr(operator, "ui_url", "")
