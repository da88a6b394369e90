"""What promotion will ask of MLflow, tried before anything runs; and MLflow's refusals told as what they are."""

import importlib.util
import os
from typing import TYPE_CHECKING

from handoff.errors import BatonError, ConfigError, EngineUnavailable
from registry.mlflow_run import EXPERIMENT

if TYPE_CHECKING:
    from registry.client import Registry
    from registry.config import PromotionConfig

VARIABLE = "MLFLOW_TRACKING_URI"
REMEDY = f"Remedy: set {VARIABLE} to a server (http://…) or a database (sqlite:///…), or unset it for the embedded one"
# Words of MLflow for requests that it refuses whenever they come.
REFUSALS = (
    "INVALID_PARAMETER_VALUE",
    "BAD_REQUEST",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "FEATURE_DISABLED",
    "NOT_IMPLEMENTED",
)


def check_registry(config: "PromotionConfig") -> str | None:
    """See that the MLflow of this deployment takes requests, by its own client; None for the embedded one, made on first use.

    Args:
        config: the promotion section, whose names were held against MLflow's rules already.

    Raises:
        ConfigError: MLflow refuses its address, or its experiment was deleted.
        EngineUnavailable: it does not answer.
    """
    if not os.environ.get(VARIABLE):
        return None
    if importlib.util.find_spec("mlflow") is None:
        return "MLflow is looked at when the model is promoted: it is not installed here"
    from registry.client import open_registry, refuse_deleted

    registry = open_registry()
    try:
        registry.client.search_model_versions(f"name = '{config.model_name}'", max_results=1)
        found = registry.client.get_experiment_by_name(EXPERIMENT)
    except Exception as error:  # a client raises what its store's libraries raise
        raise refusal(registry, error) from error
    refuse_deleted(found)
    return f"MLflow at {registry.shown}"


def refusal(registry: "Registry", error: BaseException) -> BatonError | EngineUnavailable:
    """The error that stands for one of MLflow's client: the user's to fix, or one that may pass."""
    cause = str(error).strip().split("\n")[0].replace(registry.uri, registry.shown)
    if isinstance(error, ImportError) or getattr(error, "error_code", None) in REFUSALS:
        return ConfigError(f"MLflow at {registry.shown} refuses: {cause}. {REMEDY}")
    return EngineUnavailable(f"MLflow at {registry.shown} refused: {cause}. Remedy: check {VARIABLE}")
