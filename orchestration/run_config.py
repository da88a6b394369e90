"""The whole configuration of a run: each section is defined beside the code it configures."""

from typing import Self

from pydantic import Field, model_validator

from comparison.config import ComparisonConfig
from etl.config import CorpusConfig
from evaluation.config import EvaluationConfig
from handoff.manifest import Frozen
from handoff.text import Location, Name
from inference.config import InferenceConfig
from registry.config import PromotionConfig
from training.config import TrainingConfig


class RunConfig(Frozen):
    """From raw text to predictions. Frozen and closed: an unknown or misspelt key is an error."""

    preset: Name = Field(description="the preset that this configuration started from")
    corpus: CorpusConfig = Field(description="raw → Spark → snapshot")
    training: TrainingConfig = Field(description="snapshot → Ray Train + DeepSpeed → model")
    evaluation: EvaluationConfig = Field(description="metrics and the gate")
    promotion: PromotionConfig = Field(description="the registered model")
    inference: InferenceConfig = Field(description="model + prompts → predictions")


class ModelChoice(Frozen):
    """Which promoted model a run of inference uses: one of the registry, or an artifact of the store."""

    name: Name | None = Field(
        default=None, description="registered model in MLflow", pattern="^[A-Za-z0-9._-]{1,128}$", examples=["baton"]
    )
    alias: Name = Field(default="champion", description="alias of the version to use", pattern="^[A-Za-z0-9_-]{1,64}$")
    version: int | None = Field(default=None, description="number of the version to use, instead of the alias", ge=1)
    path: Location | None = Field(
        default=None,
        description="directory or URI of a model artifact in this deployment's store, instead of a registered model",
        examples=["/data/baton/artifacts/model/model-7b311a42d63bc0b0"],
        min_length=1,
        max_length=1024,
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.name and self.path:
            raise ValueError("a registered model and a path were both given: leave one of them empty")
        if self.version and not self.name:
            raise ValueError("a version needs the name of its registered model")
        return self


class InferenceRunConfig(Frozen):
    """The configuration of a run of inference alone."""

    preset: Name = Field(description="the preset that this configuration started from")
    model: ModelChoice = Field(default=ModelChoice(), description="the model that answers")
    inference: InferenceConfig = Field(description="model + prompts → predictions")


class ComparisonRunConfig(Frozen):
    """The configuration of a comparison of the engines."""

    preset: Name = Field(description="the preset that this configuration started from")
    comparison: ComparisonConfig = Field(description="the same stages on Spark and on Ray")
