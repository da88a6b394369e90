"""What the gate decided, criterion by criterion: in the record of the evaluate stage, for promotion and for people."""

from handoff.facts import Facts
from handoff.run_dir import StageRecord


class Verdict(Facts):
    """What the gate decided by one criterion."""

    metric: str
    against: str  # base, champion or value
    limit: float
    passed: bool
    value: float  # of the tuned model
    reference: float | None = None  # of the other model
    change: float | None = None  # as in Comparison
    low: float | None = None
    high: float | None = None
    why: str  # such as better, no difference, worse, or no champion yet

    def __str__(self) -> str:
        """As a sentence: ``perplexity 44.92 against base 61.20: ratio 0.734, limit 0.95: better``."""
        beside = "" if self.reference is None else f" {self.reference:.4g}"
        compared = ""
        if self.change is not None:
            noun = "ratio" if self.metric in ("perplexity", "bits_per_byte") else "gain"
            compared = f" {noun} {self.change:.3f} [{self.low:.3f}, {self.high:.3f}],"
        against = "a value" if self.against == "value" else f"the {self.against}"
        return f"{self.metric} {self.value:.4g} against {against}{beside}:{compared} limit {self.limit:g}: {self.why}"


class Gate(Facts):
    """The gate's decision, in the metrics of the evaluate stage's record."""

    split: str
    passed: bool
    verdicts: tuple[Verdict, ...] = ()
    champion_version: int | None = None  # that held the alias then: a promotion may replace no other

    @property
    def failed(self) -> list[Verdict]:
        """The criteria that were not met."""
        return [v for v in self.verdicts if not v.passed]

    def verdict(self, metric: str, against: str) -> Verdict | None:
        """The verdict by one criterion; None where the gate has no such criterion."""
        return next((v for v in self.verdicts if (v.metric, v.against) == (metric, against)), None)


def gate_of(record: StageRecord | None) -> Gate | None:
    """What the gate decided; None where the evaluate stage did not get there."""
    decision = record.metrics.get("gate") if record else None
    return Gate.model_validate(decision, extra="ignore") if decision else None
