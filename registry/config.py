"""Configuration of promotion."""

from pydantic import Field

from handoff.manifest import Frozen


class PromotionConfig(Frozen):
    """The registered model in MLflow."""

    model_name: str = Field(default="baton", description="registered model", pattern="^[A-Za-z0-9._-]{1,128}$")
    alias: str = Field(
        default="champion", description="alias that moves to the new version", pattern="^[A-Za-z0-9_-]{1,64}$"
    )
    approval: bool = Field(default=False, description="wait for a person's approval before the model is promoted")
