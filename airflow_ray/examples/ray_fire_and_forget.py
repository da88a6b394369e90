"""Start a job, do something else, and wait for the job and its result at the end."""

from airflow.sdk import DAG, task

from airflow_ray.operator import RayJobOperator
from airflow_ray.sensor import RayJobSensor

CODE = "import json; print('RAY_JOB_RESULT ' + json.dumps({'rows': 7}))"

with DAG("ray_fire_and_forget", schedule=None):
    start = RayJobOperator(
        task_id="start",
        entrypoint=["python", "-c", CODE],
        metadata={"day": "{{ run_id }}"},
        wait_for_completion=False,
    )

    @task
    def something_else() -> None:
        print("meanwhile")

    wait = RayJobSensor(
        task_id="wait", submission_id="{{ ti.xcom_pull(task_ids='start') }}", xcom_result=True, poke_interval=5
    )

    @task
    def rows(found: dict) -> int:
        return found["rows"]

    start >> something_else() >> wait
    rows(wait.output)
