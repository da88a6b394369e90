"""One command on a Ray cluster, waited for in the triggerer."""

from airflow.sdk import DAG

from airflow_ray.operator import RayJobOperator

CODE = """
import ray
ray.init(log_to_driver=False)

@ray.remote
def square(x):
    return x * x

print("squares", ray.get([square.remote(x) for x in range(5)]))
"""

with DAG("ray_first", schedule=None):
    RayJobOperator(task_id="squares", entrypoint=["python", "-c", CODE], deferrable=True)
