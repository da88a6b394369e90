"""What spark-submit is given besides the job: where Spark's own log goes."""

from etl.session import quiet_conf
from handoff.home import baton_home
from orchestration.paths import run_uri


def spark_conf() -> dict[str, str]:
    """Settings that keep Spark's own log out of the task's: it goes to ``spark.log`` of the run, or of BATON_HOME.

    A template: the run's directory is known when the task runs.
    """
    in_run = "{{ ti.xcom_pull(task_ids='plan') }}/spark.log"
    return quiet_conf(f"{baton_home()}/logs/spark.log" if "://" in run_uri("") else in_run)
