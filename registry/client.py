"""MLflow as this deployment reaches it: the client, the experiment, and which version holds an alias."""

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from handoff.errors import ConfigError
from handoff.home import baton_home
from registry.check import refusal
from registry.mlflow_run import EXPERIMENT, MODEL_TAG

NOTHING_THERE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # what MLflow says of an unknown name or alias


@dataclass(frozen=True)
class Registry:
    """An MLflow client and where it is: the embedded SQLite file unless ``MLFLOW_TRACKING_URI`` names another."""

    client: Any
    uri: str

    @property
    def shown(self) -> str:
        """The address without the credentials that may stand in it."""
        parts = urlsplit(self.uri)
        return urlunsplit(parts._replace(netloc=parts.netloc.rsplit("@", 1)[-1])) if parts.netloc else self.uri

    @property
    def is_server(self) -> bool:
        return self.uri.startswith(("http://", "https://", "databricks"))


@dataclass(frozen=True)
class Champion:
    """The version that holds an alias.

    Attributes:
        version: its number.
        model: id of the model artifact; None where it was not registered by a promotion of ours.
        directory: of that artifact.
    """

    version: int
    model: str | None
    directory: str | None


def open_registry() -> Registry:
    """The MLflow that this deployment uses; the embedded one is made on first use. Raises ConfigError or EngineUnavailable."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # some 15 s; its default of 7 waits for minutes
    from mlflow import MlflowClient

    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.ERROR)
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        baton_home().mkdir(parents=True, exist_ok=True)
        uri = f"sqlite:///{baton_home() / 'mlflow.db'}"
    try:
        client = MlflowClient(tracking_uri=uri, registry_uri=os.environ.get("MLFLOW_REGISTRY_URI") or uri)
    except Exception as error:  # a client raises what its store's libraries raise
        raise refusal(Registry(None, uri), error) from error
    return Registry(client, uri)


def find_champion(registry: Registry, name: str, alias: str) -> Champion | None:
    """The version of a registered model that holds an alias; None where there is none.

    Raises:
        EngineUnavailable: MLflow cannot be reached.
    """
    from mlflow.exceptions import MlflowException

    with answering(registry):
        try:
            found = registry.client.get_model_version_by_alias(name, alias)
        except MlflowException as error:
            if error.error_code in NOTHING_THERE:
                return None
            raise
    return Champion(int(found.version), found.tags.get(MODEL_TAG), found.tags.get("baton.directory"))


@contextlib.contextmanager
def answering(registry: Registry) -> Iterator[None]:
    """Name the registry, without its credentials, where it refuses (ConfigError) or does not answer (EngineUnavailable)."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError, ImportError) as error:
        raise refusal(registry, error) from error


def find_version(client: Any, name: str, artifact_id: str) -> Any:
    """The version of a registered model that stands for an artifact, or None."""
    found = client.search_model_versions(f"name = '{name}' and tags.`{MODEL_TAG}` = '{artifact_id}'", max_results=1)
    return client.get_model_version(name, found[0].version) if found else None  # a search leaves the aliases out


@contextlib.contextmanager
def allow_existing() -> Iterator[None]:
    """Let a creation pass that found the thing there, made before or by another promotion at this moment."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def experiment_of(registry: Registry) -> str:
    """Id of the experiment, made where it is missing. The embedded one keeps its artifacts under BATON_HOME."""
    found = registry.client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        # A server decides by itself. Without a server MLflow's default is ./mlruns of whatever directory we are in.
        place = None if registry.is_server else (baton_home() / "mlflow-artifacts").as_uri()
        with allow_existing():
            registry.client.create_experiment(EXPERIMENT, artifact_location=place)
        found = registry.client.get_experiment_by_name(EXPERIMENT)
    refuse_deleted(found)
    return str(found.experiment_id)


def refuse_deleted(experiment: Any) -> None:
    """Raise ConfigError where MLflow's experiment was deleted."""
    if experiment is not None and experiment.lifecycle_stage != "active":
        raise ConfigError(
            f"the MLflow experiment {EXPERIMENT!r} was deleted. Remedy: mlflow experiments restore -x {experiment.experiment_id}"
        )
