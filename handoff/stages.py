"""The stages of a run. One entry here is all that the run's directory, reports, tests and DAG checks know of a stage."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Flow = Literal["training", "inference", "comparison"]


@dataclass(frozen=True)
class Stage:
    """A job that leaves a record in the run's directory.

    Attributes:
        name: of the stage, its record and its task.
        engine: where it runs, for people and for the check of its operator.
        summary: what it does, in a few words.
        publishes: the kind of artifact that it makes; None where it makes none.
        flows: the flows that it belongs to.
    """

    name: str
    engine: Literal["Airflow", "Spark", "Ray", "MLflow", "both", ""]
    summary: str
    publishes: str | None = None
    flows: Sequence[Flow] = ("training",)


STAGES = (  # in the order of every flow
    Stage("plan", "Airflow", "validates the configuration", flows=("training", "inference", "comparison")),
    Stage("corpus", "Spark", "cleans, cuts, filters, splits", publishes="corpus"),
    Stage("train", "Ray", "Ray Train + DeepSpeed", publishes="model"),
    Stage("evaluate", "Ray", "Ray Data, the models side by side", publishes="evaluation"),
    Stage("promote", "MLflow", "registers the model"),
    Stage("predict", "Ray", "Ray Data, actor pool", publishes="predictions", flows=("training", "inference")),
    Stage("compare", "both", "the same stages on Spark and on Ray", publishes="comparison", flows=("comparison",)),
    Stage("report", "Airflow", "this page", flows=("training", "inference", "comparison")),
)
INPUTS = ("raw", "signatures", "prompts")  # kinds of artifact that a stage publishes besides its own
KINDS = (*INPUTS, *(stage.publishes for stage in STAGES if stage.publishes))


def require_declared(kind: str) -> str:
    """A kind of artifact as it is. Raises ValueError where no stage publishes it."""
    if kind not in KINDS:
        raise ValueError(
            f"no stage publishes an artifact of kind {kind!r} (known: {', '.join(KINDS)}). "
            "Remedy: declare it in handoff/stages.py"
        )
    return kind


def flow(name: Flow) -> tuple[str, ...]:
    """Names of a flow's stages, in order."""
    return tuple(stage.name for stage in STAGES if name in stage.flows)


def declared(name: str) -> Stage:
    """The stage of this name. One that only other versions of the code know says nothing of itself."""
    return next((stage for stage in STAGES if stage.name == name), Stage(name, "", ""))
