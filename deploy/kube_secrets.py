"""``python -m deploy.kube_secrets [.env.kubernetes] | kubectl apply -f -``: the secrets that the manifests name.

The file (mode 0600) keeps what is made here: run it again, and the same secrets come out. Two things are yours and must
stand in it: DATABASE, the address of PostgreSQL with user and password and without a database's name, and the store's keys.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.env_file import read, with_secrets, write

NAMESPACE = "baton"
YOURS = ("DATABASE", "S3_ACCESS_KEY", "S3_SECRET_KEY")
SPARK = {
    "conn_type": "spark",
    "host": "k8s://https://kubernetes.default.svc",
    "port": 443,
    "extra": {"deploy-mode": "client", "namespace": NAMESPACE},
}
# Ray speaks http inside the namespace, which nothing outside of it reaches; the token is asked for all the same.
RAY = {"conn_type": "ray", "host": "ray-head-svc", "port": 8265, "extra": {"allow_insecure": True}}


def settings(path: Path) -> dict[str, str]:
    """What the file holds, fresh secrets added.

    Raises:
        ValueError: what only you can know is missing.
    """
    known = read(path)
    if missing := [name for name in YOURS if not known.get(name)]:
        lines = ", ".join(f"{name}=…" for name in missing)
        raise ValueError(f"{path} lacks {', '.join(missing)}. Remedy: add the lines {lines} to it")
    if not known["DATABASE"].startswith("postgresql://"):
        raise ValueError(
            f"DATABASE in {path} is no address of PostgreSQL. Remedy: postgresql://user:password@host:5432"
        )
    known = with_secrets(known)
    write(path, known)
    return known


def secrets(known: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Data of each secret, by name."""
    database = "postgresql+psycopg2://" + known["DATABASE"].removeprefix("postgresql://").rstrip("/")
    return {
        "baton-metadata": {"connection": f"{database}/airflow"},
        "baton-mlflow": {"connection": f"{database}/mlflow"},
        "baton-fernet": {"fernet-key": known["FERNET_KEY"]},
        "baton-api": {"api-secret-key": known["API_SECRET"]},
        "baton-jwt": {"jwt-secret": known["JWT_SECRET"]},
        "baton-admin": {"AIRFLOW_ADMIN_PASSWORD": known["AIRFLOW_ADMIN_PASSWORD"]},
        "baton-ray": {"auth_token": known["RAY_TOKEN"]},
        "baton-store": {"AWS_ACCESS_KEY_ID": known["S3_ACCESS_KEY"], "AWS_SECRET_ACCESS_KEY": known["S3_SECRET_KEY"]},
        "baton-connections": {
            "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps(SPARK),
            "AIRFLOW_CONN_RAY_DEFAULT": json.dumps({**RAY, "password": known["RAY_TOKEN"]}),
        },
    }


def manifest(known: Mapping[str, str]) -> dict[str, Any]:
    """All of them as one document for kubectl."""
    items = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}, "stringData": data}
        for name, data in secrets(known).items()
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


if __name__ == "__main__":
    try:
        print(json.dumps(manifest(settings(Path((sys.argv[1:] or [".env.kubernetes"])[0])))))
    except ValueError as error:
        sys.exit(f"ERROR {error}")
