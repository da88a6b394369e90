"""Configuration of promotion."""

import re

from pydantic import Field, field_validator

from handoff.manifest import Frozen
from handoff.text import Name


class PromotionConfig(Frozen):
    """The registered model in MLflow."""

    model_name: Name = Field(default="baton", description="registered model", pattern="^[A-Za-z0-9._-]{1,128}$")
    alias: Name = Field(
        default="champion", description="alias that moves to the new version", pattern="^[A-Za-z0-9_-]{1,64}$"
    )
    approval: bool = Field(default=False, description="wait for a person's approval before the model is promoted")

    @field_validator("alias")
    @classmethod
    def _alias_is_not_mlflows(cls, alias: str) -> str:
        """MLflow keeps ``latest`` and the names of versions for itself."""
        if alias.lower() == "latest" or re.fullmatch(r"[vV]\d+", alias):
            raise ValueError(f"MLflow keeps the alias {alias!r} for itself: choose another, such as champion")
        return alias

    @field_validator("model_name")
    @classmethod
    def _name_is_no_path(cls, name: str) -> str:
        if name == "." or name.startswith(".."):
            raise ValueError(f"MLflow takes no model name such as {name!r}: begin it with a letter or a digit")
        return name
