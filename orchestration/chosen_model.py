"""The model of a run of inference: looked up in the registry or by its path, and opened before anything starts."""

import re

from handoff.artifact import Artifact, open_artifact
from handoff.errors import ConfigError, EngineUnavailable
from handoff.store import Store
from orchestration.paths import storage_root
from orchestration.run_config import ModelChoice

_DIRECTORY = re.compile(r"(?P<store>.*)/model/(?P<id>model-[0-9a-f]{16})(/data-[0-9a-f]+)?/?")


def find_model(choice: ModelChoice) -> tuple[Artifact, str]:
    """Open the chosen model.

    Returns:
        The artifact, and how to call it in a sentence.

    Raises:
        ConfigError: nothing was chosen, or the choice leads to no artifact of this deployment's store.
        ArtifactError: the artifact is not whole.
        EngineUnavailable: the registry does not answer.
    """
    if choice.path:
        return _open(choice.path, "the path"), choice.path.rstrip("/").rsplit("/", 1)[-1]
    if choice.name is None:
        raise ConfigError(
            "no model was chosen. Remedy: give model_name (and alias or version), or model, the directory of a model "
            "artifact"
        )
    directory, version = _registered(choice)
    return _open(directory, f"{choice.name} version {version}"), f"{choice.name} version {version}"


def _open(directory: str, who: str) -> Artifact:
    found, store = _DIRECTORY.fullmatch(directory.removeprefix("file://")), Store(storage_root())
    if found is None:
        raise ConfigError(f"{who} names {directory}, which is no model artifact. Remedy: give …/model/model-<hex>")
    if Store(found["store"]).root != store.root:
        raise ConfigError(
            f"{who} names {directory}, which is not in this deployment's store ({store.root}). Remedy: choose a model "
            "of that store, or set BATON_STORAGE to the other one"
        )
    return open_artifact(store, found["id"])


def _registered(choice: ModelChoice) -> tuple[str, str]:
    """Directory and number of a registered version."""
    from mlflow.exceptions import MlflowException

    from registry.client import open_registry

    wanted = f"version {choice.version}" if choice.version else f"alias {choice.alias}"
    registry = open_registry()
    try:
        version = (
            registry.client.get_model_version(choice.name, str(choice.version))
            if choice.version
            else registry.client.get_model_version_by_alias(choice.name, choice.alias)
        )
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            known = ", ".join(sorted(m.name for m in registry.client.search_registered_models(max_results=20)))
            raise ConfigError(
                f"MLflow at {registry.shown} has no {choice.name} with {wanted}. "
                f"Remedy: choose one of {known or 'none: nothing is registered yet'}"
            ) from None
        cause = str(error).strip().split("\n")[0].replace(registry.uri, registry.shown)
        raise EngineUnavailable(f"MLflow at {registry.shown} refused: {cause}. Remedy: check it") from error
    directory = version.tags.get("baton.directory")
    if directory is None:
        raise ConfigError(
            f"{choice.name} version {version.version} was not registered by a promotion of Baton: it names no artifact. "
            "Remedy: choose another version, or give the artifact's directory as model"
        )
    return directory, str(version.version)
