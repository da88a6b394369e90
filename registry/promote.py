"""``python -m registry.promote RUN_DIR``: the model that passed the gate becomes the champion in MLflow."""

import sys
from pathlib import Path
from typing import Any

from handoff.artifact import Artifact
from handoff.errors import GateFailed
from handoff.gate import Gate, gate_of
from handoff.job import log, run_stage
from handoff.run_dir import RunDir, StageRecord
from registry.client import (
    Registry,
    allow_existing,
    answering,
    experiment_of,
    find_champion,
    find_version,
    open_registry,
)
from registry.config import PromotionConfig
from registry.lock import alone
from registry.mlflow_run import EXPERIMENT, flat, gate_table, log_run, tags_of

PROMOTED = (
    "baton.promoted"  # on versions: whether one ever held its alias; absent on those of earlier releases, which all did
)


def promote(run: RunDir, record: StageRecord) -> None:
    """Log the run, register its model as a version, and move the alias to it.

    The same model is registered once: a version that carries its artifact id is used again, whoever made it. The alias
    moves only from the version that the evaluation found there, and never back to one that held it before.

    Raises:
        GateFailed: the evaluation did not pass, there is none of this model, or the alias has moved since.
        EngineUnavailable: MLflow cannot be reached.
    """
    config = run.section("promotion", PromotionConfig)
    model, evaluation = run.artifact("train"), run.artifact("evaluate")
    gate = check_gate(model, evaluation, gate_of(run.record("evaluate")))
    registry = open_registry()
    log.info("model: %s; MLflow: %s", model.id, registry.shown)
    with answering(registry):
        version = find_version(registry.client, config.model_name, model.id)
        _refuse_late(registry, config, model, gate, version)
        record.reused = version is not None
        if version is None:
            version = register(run, registry, config, model, evaluation, gate)
        else:
            log.info("%s is already registered as %s version %s: reused", model.id, config.model_name, version.version)
        with alone(run.store, f"promotion-{config.model_name}-{config.alias}"):
            if not _refuse_late(registry, config, model, gate, version):
                registry.client.set_registered_model_alias(config.model_name, config.alias, version.version)
            registry.client.set_model_version_tag(config.model_name, version.version, PROMOTED, "yes")
        registry.client.update_model_version(config.model_name, version.version, _described(model, evaluation, gate))
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


def check_gate(model: Artifact, evaluation: Artifact, gate: Gate | None) -> Gate:
    """Refuse a model that did not pass the gate, or that was not the one evaluated."""
    if evaluation.manifest.parent("model") != model.id:
        raise GateFailed(f"{evaluation.id} is not an evaluation of {model.id}. Remedy: run the evaluate stage again")
    if gate is None:
        raise GateFailed(f"nothing was decided about {model.id}. Remedy: run the evaluate stage again")
    if not gate.passed:
        raise GateFailed(
            f"{model.id} is not promoted: on {gate.split}, {'; '.join(map(str, gate.failed))}. Remedy: train longer or "
            "on more data, or change evaluation.gate"
        )
    return gate


def _refuse_late(registry: Registry, config: PromotionConfig, model: Artifact, gate: Gate, version: Any) -> bool:
    """See that the alias may move to a version. Returns whether it is there already.

    Raises:
        GateFailed: another version got it since the evaluation, or this one held it before and was replaced.
    """
    now = find_champion(registry, config.model_name, config.alias)
    if now and version is not None and now.version == int(version.version):
        return True
    name = f"{config.model_name} @{config.alias}"
    if version is not None and version.tags.get(PROMOTED, "yes") == "yes":
        raise GateFailed(
            f"{model.id} is {config.model_name} version {version.version}, which was {config.alias} before and was "
            f"replaced: a promotion does not move the alias back. Remedy: to go back on purpose, set the alias of "
            f"{config.model_name} in MLflow's UI"
        )
    if (now.version if now else None) != gate.champion_version:
        raise GateFailed(
            f"{model.id} is not promoted: when it was evaluated, {name} was {_version(gate.champion_version)}, and now it "
            f"is {_version(now.version if now else None)}. Remedy: run the evaluate stage again, which compares the two; "
            "if the registry did not change, give Ray's nodes the MLFLOW_TRACKING_URI of Airflow's"
        )
    return False


def _version(number: int | None) -> str:
    return "no version" if number is None else f"version {number}"


def register(
    run: RunDir, registry: Registry, config: PromotionConfig, model: Artifact, evaluation: Artifact, gate: Gate
) -> Any:
    """Log the run and create the model version. Returns the version."""
    client = registry.client
    params = flat(run.config["training"])
    run_id = log_run(client, experiment_of(registry), run.name, params, model, evaluation, gate)
    log.info("MLflow run: %s in experiment %s", run_id, EXPERIMENT)
    with allow_existing():
        client.create_registered_model(config.model_name)
    tags = {"baton.directory": model.directory, "baton.data": model.data, PROMOTED: "no"}
    return client.create_model_version(
        config.model_name,
        source=source_of(registry, model, run_id),
        run_id=run_id,
        tags=tags_of(model, evaluation) | tags,
        description=_described(model, evaluation, gate),
    )


def _described(model: Artifact, evaluation: Artifact, gate: Gate) -> str:
    """Markdown of the version's page."""
    return f"{model.id}, evaluated by {evaluation.id}\n\n{gate_table(gate)}"


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
