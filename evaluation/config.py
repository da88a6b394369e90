"""Configuration of evaluation: what is measured, on which passages, and the gate's criteria."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from handoff.capacity import Group
from handoff.identity import Limit, NotInId, Runtime
from handoff.manifest import Frozen
from handoff.text import Name

Split = Literal["train", "validation", "test"]
Against = Literal["base", "champion", "value"]

PERPLEXITY, BITS_PER_BYTE = "perplexity", "bits_per_byte"
FUNCTION, SUITE = "function:", "suite:"  # prefixes of the metrics that a deployment brings along
RATIOS = (PERPLEXITY, BITS_PER_BYTE)  # lower is better; compared by the ratio tuned / other


class Criterion(Frozen):
    """One condition of the gate. The model is promoted only if it meets all of them.

    Perplexity and bits per byte are compared with another model by the ratio tuned / other, which may be at most the
    limit. All other metrics are compared by the gain over the other model, which must be at least the limit.
    """

    metric: Name = Field(
        default=PERPLEXITY,
        description="perplexity, bits_per_byte, function:NAME (yours) or suite:TASK/METRIC (of lm-eval)",
        pattern=r"^(perplexity|bits_per_byte|function:\w{1,64}|suite:[\w.-]{1,64}/\w{1,64})$",
    )
    against: Against = Field(
        default="base",
        description="what it is compared with: base, champion (the model that it would replace; the criterion fails only "
        "where the whole 95 % interval of the comparison is beyond the limit), or value (the limit itself)",
    )
    limit: float | None = Field(
        default=None,
        description="unset: as good as the other model; needed where the limit is a value",
        allow_inf_nan=False,
    )

    @model_validator(mode="after")
    def _a_value_is_given(self) -> Self:
        if self.against == "value" and self.limit is None:
            raise ValueError(f"{self.metric} against a value needs a limit")
        if self.by_ratio and self.limit is not None and self.limit <= 0:
            raise ValueError(f"{self.metric} {self.limit:g} can never be met: give a limit above 0")
        return self

    @property
    def by_ratio(self) -> bool:
        """Whether two models are compared by their ratio, lower being better; else by the gain."""
        return self.metric in RATIOS

    @property
    def bound(self) -> float:
        """The limit, or what it is where it was left out."""
        return self.limit if self.limit is not None else 1.0 if self.by_ratio else 0.0


DEFAULT_GATE = (Criterion(), Criterion(metric=BITS_PER_BYTE, against="champion"))


def gate_against_base(limit: float) -> tuple[Criterion, ...]:
    """The default gate with another limit of tuned / base perplexity."""
    return Criterion(limit=limit), *DEFAULT_GATE[1:]


class EvaluationConfig(Frozen):
    """Metrics of the tuned model and of those that it is compared with, on passages that training never saw."""

    splits: tuple[Split, ...] = Field(
        default=("validation", "test"), description="splits to measure; the last one decides the gate", min_length=1
    )
    max_passages: int = Field(default=1000, description="passages per split, taken in the snapshot's order", ge=2)
    max_tokens: int = Field(default=1024, description="longest passage in tokens; the rest is not scored", ge=8)
    max_new_tokens: Annotated[int, NotInId(unless=lambda config: config.functions)] = Field(
        default=128, description="longest completion, in tokens, that a `function:` metric is given", ge=1
    )
    batch_size: Runtime[int] = Field(default=4, description="passages per forward pass", ge=1)
    num_actors: Runtime[int] = Field(default=1, description="model replicas", ge=1)
    use_gpu: bool = Field(default=False, description="one GPU per replica")
    gate: Limit[tuple[Criterion, ...]] = Field(
        default=DEFAULT_GATE,
        description="criteria that the model must meet to be promoted, each with metric, against (base, champion or "
        "value) and limit",
        examples=[
            [
                {"metric": "perplexity", "against": "base", "limit": 0.9},
                {"metric": "bits_per_byte", "against": "champion"},
            ]
        ],
        min_length=1,
    )

    @property
    def actors(self) -> Group:
        """What evaluation runs on."""
        return Group("actors", "evaluation.num_actors", self.num_actors, 1, int(self.use_gpu))

    @property
    def functions(self) -> list[str]:
        """Names of the functions that the gate asks for."""
        return self._named(FUNCTION)

    @property
    def suites(self) -> list[str]:
        """The ``TASK/METRIC`` that the gate asks for."""
        return self._named(SUITE)

    def _named(self, prefix: str) -> list[str]:
        return sorted({c.metric.removeprefix(prefix) for c in self.gate if c.metric.startswith(prefix)})
