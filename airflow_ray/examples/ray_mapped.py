"""One job for each of several inputs: functions, one more that takes all their results, and commands."""

from airflow.sdk import DAG, task

from airflow_ray.operator import RayJobOperator

with DAG("ray_mapped", schedule=None):

    @task
    def seconds() -> list[int]:
        return [0, 7, 11]

    # Jobs that end shortly before, while and after their task goes to the triggerer.
    @task.ray(deferrable=True, runtime_env={"env_vars": {"UNIT": "s"}})
    def wait(given: int) -> dict:
        import os
        import time

        time.sleep(given)
        return {"waited": given, "unit": os.environ["UNIT"]}

    @task.ray
    def add(found: list[dict]) -> int:
        return sum(one["waited"] for one in found)

    add(found=wait.expand(given=seconds()))

    RayJobOperator.partial(task_id="commands").expand(entrypoint=[["echo", "one"], ["sh", "-c", "echo two; echo 2"]])
