"""SparkJobOperator: runs one of the project's jobs through spark-submit; its exit code decides whether to retry."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from etl.spark_conf import quiet_conf
from handoff.home import baton_home
from orchestration.links import ReportLink, SparkUiLink
from orchestration.paths import runs_root
from orchestration.ports import any_free_port

if TYPE_CHECKING:
    from airflow.sdk import Context

PROJECT = Path(__file__).resolve().parent.parent


class SparkJobOperator(SparkSubmitOperator):
    """Run ``<job> RUN_DIR`` through spark-submit; Spark's own log stays out of the task's.

    spark-submit tells no more than that the job failed; in cluster mode not even its exit code comes back. What failed
    stands in the record that the stage left in the run's directory, and decides here.

    Args:
        job: file of the job below the project, such as ``etl/job.py``.
        run_dir: the run's directory; a template.
        stage: name of the stage; the task's id where unset.

    Raises:
        AirflowFailException: configuration or input must be corrected; a retry cannot help.
        AirflowException: anything else.
    """

    template_fields: Sequence[str] = (*SparkSubmitOperator.template_fields, "run_dir")
    operator_extra_links = (SparkUiLink(), ReportLink())

    def __init__(self, *, job: str, run_dir: str, stage: str | None = None, **kwargs: Any) -> None:
        super().__init__(application=str(PROJECT / job), application_args=[run_dir], conf=spark_conf(run_dir), **kwargs)
        self.run_dir = run_dir
        self.stage = stage or self.task_id

    def execute(self, context: "Context") -> None:
        from handoff.manifest import now

        started = now()
        self._show_ui(context)
        try:
            super().execute(context)
        except (AirflowException, RuntimeError) as error:
            raise self._explained(error, started) from error

    def _show_ui(self, context: "Context") -> None:
        """Choose the port of the driver's UI and store its link now, where browsers reach it: with ``SPARK_PUBLIC_DNS``, or on
        loopback. Airflow itself stores links when a task ends.
        """
        extra = BaseHook.get_connection(self._conn_id or "spark_default").extra_dejson
        if (self._deploy_mode or extra.get("deploy-mode")) == "cluster":
            return  # the driver runs elsewhere: only the cluster manager knows its address
        local = os.environ.get("SPARK_LOCAL_IP", "")
        host = os.environ.get("SPARK_PUBLIC_DNS") or (local if local.startswith("127.") else "")
        if not host:
            return  # this machine's own name means nothing to a browser elsewhere: no link is better than a dead one
        port = any_free_port("")
        self.conf = {**(self.conf or {}), "spark.ui.port": str(port)}
        self.ui_url = f"http://{host}:{port}"
        self.log.info("Spark UI while the job runs: %s", self.ui_url)
        context["ti"].xcom_push(key=SparkUiLink().xcom_key, value=self.ui_url)

    def _explained(self, error: Exception, started: Any) -> Exception:
        """The error to raise for a failed job: with the message that the job recorded in this attempt, if any."""
        from handoff.run_dir import RunDir

        record = RunDir(self.run_dir).record(self.stage)
        if record is None or record.status != "failed" or record.ended is None or record.ended < started:
            return error
        kind = AirflowException if record.retry_helps else AirflowFailException
        return kind(f"ERROR {self.stage}: {record.error}")


def spark_conf(run_dir: str) -> dict[str, str]:
    """Settings that keep Spark's own log out of the task's: it goes to ``spark.log`` of the run, or of BATON_HOME.

    Args:
        run_dir: the run's directory, or a template of it.
    """
    return quiet_conf(f"{baton_home()}/logs/spark.log" if "://" in runs_root() else f"{run_dir}/spark.log")
