"""Everything that the report shows, read from a run's directory and manifests. Each missing part has a reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from handoff.artifact import Artifact, open_artifact
from handoff.errors import ArtifactError, BatonError
from handoff.facts import (
    AnyFacts,
    BaseModelFacts,
    CorpusFacts,
    EvaluationFacts,
    Facts,
    ModelFacts,
    PredictionFacts,
    Promotion,
    facts_of,
)
from handoff.gate import Gate, gate_of
from handoff.manifest import Manifest, kind_of
from handoff.run_dir import RunDir
from handoff.store import Store
from reporting.lineage import Node, lineage
from reporting.samples import Samples, read_samples
from reporting.stages import Stage, Timeline, stages_of, timeline_of

SomeFacts = TypeVar("SomeFacts", bound=Facts)


@dataclass(frozen=True)
class Part(Generic[SomeFacts]):
    """What a stage published, with its facts. ``why`` says what is missing or damaged, and is empty otherwise."""

    facts: SomeFacts
    artifact: Artifact | None = None
    why: str = ""

    @property
    def manifest(self) -> Manifest | None:
        return self.artifact.manifest if self.artifact else None


@dataclass(frozen=True)
class Collected:
    """One run, as far as it got."""

    name: str
    uri: str
    config: dict[str, Any]  # empty if run.json is missing
    config_why: str
    stages: dict[str, Stage]
    timeline: Timeline
    corpus: Part[CorpusFacts]
    model: Part[ModelFacts]
    base: Part[BaseModelFacts]
    evaluation: Part[EvaluationFacts]
    gate: Gate | None
    predictions: Part[PredictionFacts]
    promotion: Promotion | None
    samples: Samples
    samples_why: str
    lineage: list[Node]

    @property
    def failed(self) -> Stage | None:
        """The stage that ended the run: it failed, was killed or marked, or never started though all before succeeded."""
        stages = list(self.stages.values())[:-1]  # the report itself is still being written
        broken = [s for s in stages if s.state in ("failed", "unfinished", "stopped", "removed")]
        return next(iter(broken or [s for s in stages if s.state == "absent"]), None)


def collect(run: RunDir) -> Collected:
    """Read a run, as far as its stages have records and its artifacts can be opened."""
    config, config_why = _config(run)
    store = run.store if config else None
    stages = {s.name: s for s in stages_of(run.records(), run.stages, run.tasks)}
    model = _part(store, stages.get("train") or stages["plan"], ModelFacts, "model")  # the plan of inference chose it
    predictions = _part(store, stages["predict"], PredictionFacts, "predictions")
    samples, samples_why = _samples(predictions)
    return Collected(
        name=run.name,
        uri=run.uri,
        config=config,
        config_why=config_why,
        stages=stages,
        timeline=timeline_of(list(stages.values())),
        corpus=_part(store, stages["corpus"], CorpusFacts, "corpus")
        if "corpus" in stages
        else _parent(model, "corpus", CorpusFacts, "the model's manifest names no corpus"),
        model=model,
        base=_parent(model, "model", BaseModelFacts, "the tuned model's manifest names no base model"),
        evaluation=_part(store, stages.get("evaluate"), EvaluationFacts, "evaluation"),
        gate=_gate(stages.get("evaluate")),
        predictions=predictions,
        promotion=_promotion(stages.get("promote")),
        samples=samples,
        samples_why=samples_why,
        lineage=lineage(store, _made(list(stages.values()))) if store else [],
    )


def _config(run: RunDir) -> tuple[dict[str, Any], str]:
    try:
        return run.config, ""
    except BatonError as error:
        return {}, str(error)


def _part(store: Store | None, stage: Stage | None, model: type[AnyFacts], noun: str) -> Part[AnyFacts]:
    if store is None:
        return Part(model(), why=f"no {noun}: the run has no run.json")
    if stage is None:
        return Part(model(), why=f"no {noun}: a run of inference alone has no such stage")
    identity = stage.record.artifact if stage.record else None
    if identity is None:
        return Part(model(), why=f"no {noun}: {stage.why or f'the {stage.name} stage recorded none'}")
    return _opened(store, identity, model)


def _opened(store: Store, identity: str, model: type[AnyFacts]) -> Part[AnyFacts]:
    """An artifact and its facts. Facts of a damaged artifact are not shown, because nothing vouches for them."""
    try:
        artifact = open_artifact(store, identity)
        return Part(facts_of(artifact.manifest, model), artifact)
    except ArtifactError as error:
        return Part(model(), why=str(error))


def _parent(model: Part[ModelFacts], kind: str, facts: type[AnyFacts], lacks: str) -> Part[AnyFacts]:
    """The parent of this kind that a model's manifest names; ``lacks`` is the reason if it names none."""
    if model.artifact is None:
        return Part(facts(), why=model.why)
    if (found := model.artifact.manifest.parent(kind)) is None:
        return Part(facts(), why=lacks)
    return _opened(model.artifact.store, found, facts)


def _samples(predictions: Part[PredictionFacts]) -> tuple[Samples, str]:
    if predictions.artifact is None:
        return Samples([], [], []), predictions.why
    return read_samples(predictions.artifact), ""


def _promotion(stage: Stage | None) -> Promotion | None:
    if stage is None or stage.record is None or stage.record.status != "success":
        return None
    try:
        return Promotion.model_validate(stage.record.metrics, extra="ignore")
    except ValidationError:
        return None


def _gate(stage: Stage | None) -> Gate | None:
    try:
        return gate_of(stage.record) if stage else None
    except ValidationError:
        return None


def _made(stages: Sequence[Stage]) -> list[str]:
    """Ids of the run's artifacts, the last stage's first, so that the lineage begins at its end."""
    made = [s.record.artifact for s in reversed(stages) if s.record and s.record.artifact]
    branches = [i for i in made if kind_of(i) == "evaluation"]  # not part of the chain: listed after it
    return [i for i in made if i not in branches] + branches


def directory_of(part: Part[Any]) -> str:
    """Directory of an artifact, for ``python -m handoff.verify``; empty if there is none."""
    return part.artifact.directory if part.artifact else ""
