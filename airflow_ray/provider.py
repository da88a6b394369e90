"""What Airflow asks of a provider (entry point ``apache_airflow_provider``): connection form, links, ``@task.ray``."""

from typing import Any

CONN_FIELDS: dict[str, dict[str, Any]] = {
    "allow_insecure": {
        "label": "Allow without TLS or token",
        "description": "A cluster on another machine is refused without https and a token, unless this is set.",
        "schema": {"type": ["boolean", "null"], "default": False},
    },
    "verify": {
        "label": "CA file",
        "description": "Path of a CA bundle that signs the cluster's certificate; the system's where empty.",
        "schema": {"type": ["string", "boolean", "null"]},
    },
    "headers": {
        "label": "Headers",
        "description": "JSON object of texts, sent with every request: what an authenticating proxy wants.",
        "schema": {"type": ["object", "string", "null"], "format": "json"},
    },
    "cookies": {
        "label": "Cookies",
        "description": "JSON object of texts, sent with every request.",
        "schema": {"type": ["object", "string", "null"], "format": "json"},
    },
    "working_dir": {
        "label": "Code to ship",
        "description": "A git working tree on the Airflow workers: its tracked files become the jobs' working directory.",
        "schema": {"type": ["string", "null"]},
    },
    "runtime_env": {
        "label": "Runtime environment",
        "description": "JSON, as Ray takes it: pip, env_vars, py_modules and so on. An operator's is merged over it.",
        "schema": {"type": ["object", "string", "null"], "format": "json"},
    },
    "namespace": {
        "label": "Namespace",
        "description": "Name of this Airflow on the cluster. Two Airflows that share one need two names.",
        "schema": {"type": ["string", "null"], "default": "airflow"},
    },
    "dashboard_url": {
        "label": "Dashboard for people",
        "description": "Address under which browsers reach Ray's dashboard. Without it only a Ray on loopback has links.",
        "schema": {"type": ["string", "null"], "format": "url"},
    },
}
EXTRA_KEYS = tuple(CONN_FIELDS)  # what a connection's extra may hold


def get_provider_info() -> dict[str, Any]:
    """Description of this provider, without importing Airflow or Ray."""
    return {
        "package-name": "airflow-ray-provider",
        "name": "Ray",
        "description": "Jobs on Ray clusters, through the Ray Jobs API.",
        "connection-types": [
            {
                "connection-type": "ray",
                "hook-class-name": "airflow_ray.hook.RayHook",
                "hook-name": "Ray",
                "ui-field-behaviour": {
                    "hidden-fields": ["login"],
                    "relabeling": {"schema": "Scheme", "password": "Token"},
                    "placeholders": {
                        "host": "ray-head.example.com",
                        "port": "8265",
                        "schema": "https",
                        "password": "token of the cluster (RAY_AUTH_MODE=token)",
                    },
                },
                "conn-fields": CONN_FIELDS,
            }
        ],
        "task-decorators": [{"name": "ray", "class-name": "airflow_ray.decorator.ray_task"}],
        "extra-links": ["airflow_ray.links.RayJobLink"],
    }
