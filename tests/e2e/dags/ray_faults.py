"""One Ray job, waited for in the worker or in the triggerer, with and without retries: what the fault tests break."""

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_ray.operator import RayJobOperator

VARIANTS = {
    "faults_worker": {"retries": 2},
    "faults_triggerer": {"retries": 2, "deferrable": True},
    "faults_once": {"retries": 0},
    "faults_late_worker": {"retries": 0, "execution_timeout": timedelta(seconds=15)},
    "faults_late_triggerer": {"retries": 0, "execution_timeout": timedelta(seconds=15), "deferrable": True},
}

for dag_id, settings in VARIANTS.items():
    with DAG(dag_id, schedule=None, params={"body": Param("", type="string")}, max_active_runs=2):
        RayJobOperator(
            task_id="job",
            entrypoint=["python", "-c", "{{ params.body }}"],
            retry_delay=timedelta(seconds=1),
            **settings,
        )
