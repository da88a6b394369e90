"""What each kind of artifact's manifest tells besides files and rows, and what the promotion notes in its record.

Writers fill these models: an unknown name or a wrong type is an error. Readers are lenient: what other versions wrote
besides is ignored, and a fact that is missing is None.
"""

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from handoff.errors import ArtifactError
from handoff.manifest import Manifest


class Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def told(self) -> dict[str, Any]:
        """As JSON types, without what was not set."""
        return self.model_dump(mode="json", exclude_unset=True, warnings="error")


class RawFacts(Facts):
    source: str | None = None


class Example(Facts):
    """A passage that was dropped, and what was measured for the rule that dropped it."""

    reason: str
    text: str
    doc_id: str | None = None
    value: float | None = None


class Change(Facts):
    """A place that a step of cleaning changed; of personal data only what it became."""

    step: str
    after: str
    before: str | None = None
    doc_id: str | None = None


class TopDocument(Facts):
    doc_id: str
    passages: int
    text_bytes: int


class MixedSource(Facts):
    """What a source gave to the snapshot, and what of it was dropped, for whatever reason."""

    name: str
    passages: int
    text_bytes: int
    dropped: int
    reasons: dict[str, int] = {}  # of ``dropped``
    duplicates_of: dict[str, int] = {}  # of ``dropped``, those whose text is kept, by the source that keeps it


class Characters(Facts):
    """What became of the characters that were read; ``removed`` per step of cleaning, in their order."""

    read: int
    removed: dict[str, int] = {}
    dropped_documents: int = 0
    dropped_passages: int = 0
    between_passages: int = 0
    kept: int


class Raw(Facts):
    """What was read of the raw files; bytes as they are unpacked."""

    unpacked_bytes: int
    records: int
    unread_records: int = 0
    lost_bytes: int = 0  # of records that could not be read, and what broken markup swallowed
    lost_share: float = 0.0  # of raw bytes, in the source with the greatest one
    replaced_bytes: int = 0
    replaced_files: int = 0
    repaired_lines: int = 0  # had UTF-8 that was decoded as something else


class CorpusFacts(Facts):
    documents: int | None = None
    files: int | None = None
    documents_dropped: int = 0  # never became passages; counted in the manifest's `dropped`
    raw_bytes: int | None = None
    passages: int | None = None  # before the rules
    text_bytes: int | None = None  # kept
    content_digests: dict[str, str] = {}  # per split, of the set of its rows
    estimated_tokens: int | None = None
    examples: list[Example] = []
    changes: list[Change] = []
    clusters: dict[str, int] = {}  # kept passages that stand for duplicates, by class of their cluster's size
    lengths: dict[str, int] = {}  # kept passages by class of their bytes
    placeholders: dict[str, int] = {}  # put in, per kind of personal data, in all that was read
    characters: Characters | None = None
    raw: Raw | None = None
    files_left_out: list[str] = []  # by their names
    top_documents: list[TopDocument] = []
    sources: list[MixedSource] = []  # where there are several


class Step(Facts):
    """One optimizer step; ``loss`` is None where it was not finite."""

    step: int
    workers: int | None = None
    loss: float | None = None
    validation_loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens: int | None = None  # cumulative
    tokens_per_second: float | None = None
    seconds: float | None = None  # since training began
    step_seconds: float | None = None
    time_ms: int | None = None  # since 1970
    data_wait_share: float | None = None  # of the step's time, on rank 0
    memory_bytes: int | None = None  # of rank 0
    mfu: float | None = None  # on a GPU whose peak is known


class BaseModelFacts(Facts):
    parameters: int | None = None
    architecture: str | None = None
    source: str | None = None


class ModelFacts(Facts):
    """Of a tuned model."""

    steps: list[Step] = []
    train_tokens: int | None = None
    blocks: int | None = None
    data_wait_share: float | None = None  # of the steps' time, without the first step
    real_token_share: float | None = None  # of the places in blocks; the others are pads
    pairs: int | None = None  # of prompt and completion that were looked at
    pairs_too_long: int | None = None  # of these, left out as no block holds them
    parameters: int | None = None
    trainable_parameters: int | None = None
    restarts: int | None = None
    world_size: int | None = None
    device: str | None = None
    exported_step: int | None = None  # whose weights the model has
    auto_tokenizer: str | None = None  # whether AutoTokenizer reads its tokenizer.json as it is: same or differs
    seconds: float | None = None  # the training loop
    core_seconds: float | None = None
    gpu_seconds: float | None = None
    method: str | None = None
    zero_stage: int | None = None


class Measured(Facts):
    """One model on one split."""

    perplexity: float
    bits_per_byte: float | None = None
    tokens: int | None = None  # that were predicted
    bytes: int | None = None  # of text that were predicted, in UTF-8
    passages: int | None = None


class SplitResult(Facts):
    """All models on the same passages of a split; ``ratio`` is tuned / base perplexity."""

    tuned: Measured
    base: Measured | None = None  # a model trained from the beginning has none
    champion: Measured | None = None  # where there was one, and it was another model
    ratio: float | None = None


class Score(Facts):
    """A metric besides perplexity and bits per byte: its mean over the same rows under each model."""

    metric: str
    rows: int
    values: dict[str, float]  # by model: tuned, base, champion
    higher_is_better: bool = True
    split: str | None = None  # None: the rows are those of a suite


class Comparison(Facts):
    """The tuned model beside another one, by a metric, with the 95 % interval of a paired bootstrap over the rows.

    ``change`` is the ratio tuned / other of perplexity and bits per byte, below 1 being better. Of other metrics it is
    the gain, above 0 being better, whatever direction the metric has.
    """

    metric: str
    against: str  # base or champion
    change: float
    low: float
    high: float


class EvaluationFacts(Facts):
    splits: dict[str, SplitResult] = {}
    limits: dict[str, str] = {}  # by model, what of a batch does not hold for it: from where on, why, and what it costs
    scores: list[Score] = []
    comparisons: list[Comparison] = []  # on the split that decides
    champion: str | None = None  # id of the model, where one was scored
    left_out: dict[str, dict[str, int]] = {}  # held-out rows that were not scored: per split, by reason
    quarantined: dict[str, int] = {}  # rows left out of a metric because its function failed on them


class PoolUse(Facts):
    """Shares of the time of a pool's actors, after each had loaded its model; what is left is their own work around."""

    computed: float
    waited_for_input: float
    waited_for_output: float


class PredictionFacts(Facts):
    task: str | None = None  # generate or score
    model: str | None = None  # id of the tuned model
    prompts: int | None = None
    errors: int | None = None  # prompts without an answer or a score
    errors_by_cause: dict[str, int] = {}
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    log_likelihood: float | None = None  # natural, of all scored completions together; of the task score
    finish_reasons: dict[str, int] = {}  # answers
    prompt_lengths: dict[str, int] = {}  # prompts by class of their tokens
    completion_lengths: dict[str, int] = {}  # answers by class of their tokens
    tokens_per_second: float | None = None
    throughput: list[float] = []  # tokens per second, in equal intervals
    seconds: float | None = None  # from the first answer to the last, less times without a replica
    pool: PoolUse | None = None
    restarts: int | None = None  # of actors
    limits: dict[str, str] = {}  # what the engine does not do with this model: from where on, why, and what it costs
    batches: int | None = None
    fewest_batches: int | None = None  # that there would have been without these limits
    baseline_prompts: int | None = None

    @property
    def mean_log_likelihood(self) -> float | None:
        """Natural log-likelihood per scored token; None where nothing was scored."""
        return None if self.log_likelihood is None else self.log_likelihood / max(self.completion_tokens or 0, 1)


class Promotion(Facts):
    """Metrics of the promote stage's record."""

    model: str | None = None
    version: str | int | None = None
    alias: str | None = None
    tracking_uri: str | None = None
    run_id: str | None = None


class ComparisonFacts(Facts):
    machine: dict[str, str] = {}
    engine_settings: dict[str, dict[str, str]] = {}  # of each tuned engine
    memory_limit: str = ""  # how the memory of a cell was limited
    first_look: bool = False  # fewer repeats than the method asks for
    partial: str | None = None  # why not all was measured that was asked for
    measurements: int = 0


AnyFacts = TypeVar("AnyFacts", bound=Facts)


def facts_of(manifest: Manifest, model: type[AnyFacts]) -> AnyFacts:
    """The facts of a manifest. Raises ArtifactError naming each fact of a wrong type."""
    try:
        return model.model_validate(manifest.facts, extra="ignore")
    except ValidationError as error:
        problems = [f"fact {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ArtifactError(manifest.id, problems, "remove this artifact and rerun its stage") from None
