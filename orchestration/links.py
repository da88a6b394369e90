"""Links from a task's page in the Airflow UI to a run's report and to a running Spark's own pages."""

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

REPORT_URL_PREFIX = "/baton"
REPORT_URL = REPORT_URL_PREFIX + "/runs/{DAG_ID}/{RUN_ID}/report.html"  # Airflow's UI fills in the same names


class ReportLink(BaseOperatorLink):
    """The run's report, served by the Airflow UI to those who may read the DAG."""

    name = "Report"

    def get_link(self, operator: "BaseOperator", *, ti_key: Any) -> str:
        return REPORT_URL.format(DAG_ID=quote(ti_key.dag_id), RUN_ID=quote(ti_key.run_id))


class SparkUiLink(BaseOperatorLink):
    """The driver's own pages: jobs, stages, plans. They are there while the job runs, and not in cluster mode."""

    name = "Spark UI (while it runs)"

    def get_link(self, operator: "BaseOperator", *, ti_key: Any) -> str:
        return getattr(operator, "ui_url", "")
