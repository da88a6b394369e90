"""The whole configuration of a run: each section is defined beside the code it configures."""

from pydantic import Field

from etl.config import CorpusConfig
from handoff.manifest import Frozen
from inference.config import InferenceConfig
from training.config import EvaluationConfig, PromotionConfig, TrainingConfig


class RunConfig(Frozen):
    """Frozen and closed: an unknown or misspelt key is an error."""

    preset: str = Field(description="the preset that this configuration started from")
    corpus: CorpusConfig = Field(description="raw → Spark → snapshot")
    training: TrainingConfig = Field(description="snapshot → Ray Train + DeepSpeed → model")
    evaluation: EvaluationConfig = Field(description="perplexities and the gate")
    promotion: PromotionConfig = Field(description="the registered model")
    inference: InferenceConfig = Field(description="model + prompts → predictions")
