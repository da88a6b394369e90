"""Functions on a Ray cluster: one job for each of several inputs, and one that takes all their results."""

from airflow.sdk import DAG, task

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
