"""``python -m training.promote RUN_DIR``: the model that passed the gate becomes the champion in MLflow."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from handoff.artifact import Artifact
from handoff.errors import ConfigError, GateFailed
from handoff.facts import Gate, gate_of
from handoff.home import baton_home
from handoff.job import log, run_stage
from handoff.run_dir import RunDir, StageRecord
from training.config import PromotionConfig, TrainingConfig
from training.registry.check import refusal
from training.registry.mlflow_run import EXPERIMENT, MODEL_TAG, flat, log_run, tags_of


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


def promote(run: RunDir, record: StageRecord) -> None:
    """Log the run, register its model as a version, and move the alias to it.

    The same model is registered once: a version that carries its artifact id is used again, whoever made it.

    Raises:
        GateFailed: the evaluation did not pass, or there is none of this model. Nothing is written.
        ConfigError: MLflow refuses its address or a name.
        EngineUnavailable: MLflow cannot be reached.
    """
    config = run.section("promotion", PromotionConfig)
    model, evaluation = run.artifact("train"), run.artifact("evaluate")
    check_gate(model, evaluation, gate_of(run.record("evaluate")))
    registry = open_registry()
    log.info("model: %s; MLflow: %s", model.id, registry.shown)
    from mlflow.exceptions import MlflowException

    try:
        version = find_version(registry.client, config.model_name, model.id)
        record.reused = version is not None
        if version is None:
            version = register(run, registry, config, model, evaluation)
        else:
            log.info("%s is already registered as %s version %s: reused", model.id, config.model_name, version.version)
        if config.alias not in version.aliases:
            registry.client.set_registered_model_alias(config.model_name, config.alias, version.version)
    except (MlflowException, OSError, ImportError) as error:
        raise refusal(registry, error) from error
    record.artifact = model.id
    record.headline = f"{config.model_name} version {version.version} is {config.alias}"
    record.metrics = {
        "model": config.model_name,
        "version": str(version.version),
        "alias": config.alias,
        "tracking_uri": registry.shown,
        "run_id": version.run_id,
    }
    log.info("registered: models:/%s@%s (version %s)", config.model_name, config.alias, version.version)


def check_gate(model: Artifact, evaluation: Artifact, gate: Gate | None) -> None:
    """Refuse a model that did not pass the gate, or that was not the one evaluated."""
    if evaluation.manifest.parent("model") != model.id:
        raise GateFailed(f"{evaluation.id} is not an evaluation of {model.id}. Remedy: run the evaluate stage again")
    if gate is None:
        raise GateFailed(f"nothing was decided about {model.id}. Remedy: run the evaluate stage again")
    if not gate.passed:
        raise GateFailed(
            f"{model.id} is not promoted: its perplexity on {gate.split} is {gate.ratio:.3f} of the base model's, "
            f"the limit is {gate.limit:g}. Remedy: train longer or on more data, or raise max_perplexity_ratio"
        )


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


def find_version(client: Any, name: str, artifact_id: str) -> Any:
    """The version of a registered model that stands for an artifact, or None."""
    found = client.search_model_versions(f"name = '{name}' and tags.`{MODEL_TAG}` = '{artifact_id}'", max_results=1)
    return client.get_model_version(name, found[0].version) if found else None  # a search leaves the aliases out


def register(run: RunDir, registry: Registry, config: PromotionConfig, model: Artifact, evaluation: Artifact) -> Any:
    """Log the run and create the model version. Returns the version."""
    client = registry.client
    params = flat(run.section("training", TrainingConfig).model_dump(mode="json"))
    run_id = log_run(client, experiment_of(registry), run.name, params, model, evaluation)
    log.info("MLflow run: %s in experiment %s", run_id, EXPERIMENT)
    with allow_existing():
        client.create_registered_model(config.model_name)
    return client.create_model_version(
        config.model_name,
        source=source_of(registry, model, run_id),
        run_id=run_id,
        tags=tags_of(model, evaluation) | {"baton.directory": model.directory, "baton.data": model.data},
        description=f"{model.id}, evaluated by {evaluation.id}",
    )


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


def source_of(registry: Registry, model: Artifact, run_id: str) -> str:
    """Where the version's files are: the artifact itself, if whoever reads the registry can reach it.

    A tracking server refuses local paths that are not below the run's own artifacts, and they would lead nowhere from
    another machine; there the model's files are uploaded. A database as the registry takes any path.
    """
    if not (model.store.is_local and registry.is_server):
        return Path(model.directory).as_uri() if model.store.is_local else model.directory
    log.info("uploading %.0f MB, as the store is local to this machine", model.manifest.total_bytes / 1e6)
    registry.client.log_artifacts(run_id, model.data, "model")
    return f"{registry.client.get_run(run_id).info.artifact_uri}/model"


if __name__ == "__main__":
    sys.exit(run_stage("promote", promote, sys.argv[1:]))
