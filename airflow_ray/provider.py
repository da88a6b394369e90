"""What Airflow asks of a provider (entry point ``apache_airflow_provider``): connection form, links."""

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Description of this provider, without importing Airflow or Ray."""
    return {
        "package-name": "baton",
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
                "conn-fields": {
                    "allow_insecure": {
                        "label": "Allow without TLS or token",
                        "description": "A cluster on another machine is refused without https and a token, unless this is set.",
                        "schema": {"type": ["boolean", "null"], "default": False},
                    },
                    "verify": {
                        "label": "CA file",
                        "description": "Path of a CA bundle that signs the cluster's certificate; the system's where empty.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "working_dir": {
                        "label": "Code to ship",
                        "description": "A git working tree on the Airflow workers: its tracked files become the jobs' working directory.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "runtime_env": {
                        "label": "Runtime environment",
                        "description": "JSON, as Ray takes it: pip, env_vars, py_modules and so on.",
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
                },
            }
        ],
        "extra-links": ["airflow_ray.links.RayJobLink"],
    }
