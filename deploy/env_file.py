"""The ``.env`` of docker-compose.yaml: fresh secrets, and the places that follow from the kind of storage."""

import base64
import os
import secrets
from pathlib import Path

STORAGES = ("s3", "volume")
# Each is made once and kept: Airflow's database is encrypted with the Fernet key, PostgreSQL's password is in its volume.
SECRETS = {
    "POSTGRES_PASSWORD": lambda: secrets.token_hex(24),  # stands in URLs: letters and digits only
    "FERNET_KEY": lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    "API_SECRET": lambda: secrets.token_hex(32),
    "JWT_SECRET": lambda: secrets.token_hex(32),
    "AIRFLOW_ADMIN_PASSWORD": lambda: secrets.token_urlsafe(12),
    "RAY_TOKEN": lambda: secrets.token_hex(32),
    "S3_ACCESS_KEY": lambda: secrets.token_hex(10),
    "S3_SECRET_KEY": lambda: secrets.token_hex(20),
}


def places(storage: str) -> dict[str, str]:
    """Where artifacts, runs and MLflow's artifacts go, and what starts for it."""
    if storage not in STORAGES:
        raise ValueError(f"STORAGE={storage} is unknown. Remedy: one of {', '.join(STORAGES)}")
    if storage == "volume":
        return {
            "BATON_STORAGE": "/data/artifacts", "BATON_RUNS": "/data/runs", "MLFLOW_ARTIFACTS": "/data/mlflow",
            "COMPOSE_PROFILES": "", "SPARK_S3": "0",
        }  # fmt: skip
    return {
        "BATON_STORAGE": "s3://baton/artifacts", "BATON_RUNS": "s3://baton/runs", "MLFLOW_ARTIFACTS": "s3://baton/mlflow",
        "COMPOSE_PROFILES": "s3", "SPARK_S3": "1",
    }  # fmt: skip


def read(path: Path) -> dict[str, str]:
    """The settings of a .env; empty if there is none."""
    if not path.exists():
        return {}
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if line and not line.startswith("#"))


def ensure(path: Path, storage: str | None = None) -> dict[str, str]:
    """Make the file, mode 0600, or add what it lacks. What stands in it stays, except the places if a storage is given.

    Raises:
        ValueError: unknown storage.
    """
    known = read(path)
    if storage or "BATON_STORAGE" not in known:
        known |= places(storage or STORAGES[0])
    known = with_secrets(known)
    write(path, known)
    return known


def with_secrets(known: dict[str, str]) -> dict[str, str]:
    """The settings, with a fresh secret for each that is missing."""
    return {**known, **{name: fresh() for name, fresh in SECRETS.items() if not known.get(name)}}


def write(path: Path, settings: dict[str, str]) -> None:
    """Replace the file, mode 0600, at once or not at all."""
    text = "# Secrets of this cluster. Keep a copy with the backup of its data.\n"
    text += "".join(f"{name}={value}\n" for name, value in settings.items())
    path.touch(mode=0o600, exist_ok=True)
    path.chmod(0o600)
    temporary = path.with_name(f"{path.name}.new")
    with open(os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    os.replace(temporary, path)
