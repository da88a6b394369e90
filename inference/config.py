"""Configuration of batch inference."""

from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from pydantic import Field, field_validator, model_validator

from handoff.capacity import Group
from handoff.identity import Input, Limit, NotInId, Runtime
from handoff.manifest import Frozen
from handoff.text import FreeText, Location, Name
from inference.engines.base import Sampling
from inference.template import columns_of

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
Task = Literal["generate", "score"]
Generating = Annotated[T, NotInId(unless=lambda config: config.task == "generate")]  # a score does not follow from it


class InferenceConfig(Frozen):
    """Model + prompts → predictions."""

    task: Annotated[Task, NotInId(unless=lambda config: config.task == "score")] = Field(
        default="generate", description="generate completions, or score the completions that come with the prompts"
    )
    prompts: Input[Location | None] = Field(
        default=None,
        description="path or URI of a .jsonl or .parquet file, a directory of such files, or a corpus artifact's "
        "directory; unset: openings of held-out passages and a dozen prompts in modern English",
        max_length=1024,
    )
    prompts_split: Input[Name] = Field(default="test", description="split to read, where prompts is a corpus")
    id_column: Input[Name | None] = Field(default=None, description="unset: id, or a corpus' row_id")
    prompt_column: Input[Name | None] = Field(default=None, description="unset: prompt, or a corpus' prompt or text")
    completion_column: Input[Name | None] = Field(
        default=None, description="unset: completion; of the texts that the task score gives a log-likelihood"
    )
    carry: tuple[Name, ...] = Field(default=(), description="further columns of the prompts, for the predictions too")
    held_out_prompts: int = Field(default=12, description="openings of test passages, where prompts is unset", ge=0)
    opening_words: int = Field(default=20, description="words of a held-out passage that make its prompt", ge=1)
    baseline_prompts: int = Field(
        default=12, description="prompts that the base model answers too, for comparison, spread evenly over all", ge=0
    )
    template: FreeText = Field(
        default="{prompt}",
        description="text given to the model, with {prompt} in it; {name} stands for any other column of the prompts",
        pattern=r"(?s)^.*\{prompt\}.*$",
    )
    chat: bool = Field(default=False, description="put that text into the tokenizer's chat template, as the user's")
    special_tokens: Literal["refuse", "escape", "allow"] = Field(
        default="refuse",
        description="special tokens in a row's own text, under chat: refuse makes a row with an error; escape puts a zero-width "
        "space into them, so that they are words; allow lets them end the user's turn or begin another",
    )
    max_prompt_tokens: int = Field(default=512, description="longer prompts become rows with an error", ge=1)
    max_new_tokens: int = Field(
        default=64, description="longest completion; longer given ones become rows with an error", ge=1
    )
    temperature: Generating[float] = Field(default=0.8, description="0: greedy; higher: more varied", ge=0, le=10)
    top_p: Generating[float] = Field(default=0.95, description="smallest probability mass to sample from", gt=0, le=1)
    seed: Generating[int] = Field(
        default=0, description="the same model, prompt, id of the prompt and seed give the same text", ge=0, lt=2**31
    )
    n: Generating[int] = Field(default=1, description="answers to each prompt, a row each", ge=1, le=128)
    stop: Generating[tuple[Annotated[FreeText, Field(min_length=1)], ...]] = Field(
        default=(), description="texts that end a completion; they are cut off"
    )
    logprobs: bool = Field(default=False, description="record the log-probability of each token of a completion")
    max_errored_rows: Limit[float | None] = Field(
        default=0.5,
        description="end early once more rows than this have an error: below 1 a share, from 1 on a count; null: never",
        ge=0,
    )
    max_actor_restarts: Runtime[int] = Field(
        default=20, description="deaths of the pool's processes that a run bears", ge=0
    )
    window_rows: Runtime[int] = Field(
        default=512, description="most prompts that a replica takes at once, and writes at once", ge=1
    )
    engine: Literal["transformers", "vllm"] = Field(
        default="transformers", description="what runs the model; vllm needs an environment of its own: make vllm-env"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="of the weights; auto: bfloat16 on GPUs, float32 on CPUs, which emulate the others"
    )
    tensor_parallel: Runtime[int] = Field(
        default=1, description="devices of one machine that each replica's model is split over", ge=1, le=64
    )
    batch_tokens: Runtime[int] = Field(
        default=8192,
        description="tokens per batch, padding and answers included; with vllm on a CPU, tokens that its cache holds",
        ge=1,
    )
    num_actors: Runtime[int] = Field(default=1, description="model replicas in the actor pool", ge=1)
    cpus_per_actor: Runtime[float] = Field(default=1, description="CPU cores that each replica takes", gt=0)
    use_gpu: bool = Field(default=False, description="one GPU per replica, or as many as tensor_parallel says")

    @field_validator("carry")
    @classmethod
    def _new_names(cls, carry: tuple[Name, ...]) -> tuple[str, ...]:
        from handoff.schema import PREDICTIONS, SCORES  # pyarrow, which a scheduler must not load to parse a DAG

        if taken := [name for name in carry if name in {*PREDICTIONS.names, *SCORES.names}]:
            raise ValueError(f"predictions have a column {taken[0]} of their own: rename it in the prompts")
        if len(set(carry)) < len(carry):
            raise ValueError("a column is named twice")
        return carry

    @model_validator(mode="after")
    def _of_one_task(self) -> "InferenceConfig":
        if self.task == "generate" and self.completion_column is not None:
            raise ValueError("completion_column is read by the task score alone: set task to score, or leave it out")
        if self.task == "score" and (self.n > 1 or self.stop):
            raise ValueError("n and stop choose answers, and the task score is given them: leave both out")
        if self.task == "score" and {"completion", self.completion_column} & set(columns_of(self.template)):
            raise ValueError("the template has the completion in it, which is scored after it: take it out")
        return self

    @property
    def rows_schema(self) -> "pa.Schema":
        """Of the predictions, before the columns of ``carry``."""
        from handoff.schema import PREDICTIONS, SCORES

        return SCORES if self.task == "score" else PREDICTIONS

    @property
    def weights_dtype(self) -> str:
        """The dtype that ``dtype`` stands for, by torch's name."""
        return ("bfloat16" if self.use_gpu else "float32") if self.dtype == "auto" else self.dtype

    @property
    def through_onednn(self) -> bool:
        """Whether the engine converts the model's linear layers (``inference/engines/onednn.py``)."""
        on_one_cpu = not self.use_gpu and self.tensor_parallel == 1
        return self.engine == "transformers" and on_one_cpu and self.weights_dtype == "float32"

    @property
    def sampling(self) -> Sampling:
        """How answers are chosen."""
        return Sampling(self.max_new_tokens, self.temperature, self.top_p, self.n, self.stop, self.logprobs)

    @property
    def actors(self) -> Group:
        """The actor pool."""
        gpus = self.tensor_parallel if self.use_gpu else 0
        return Group("actors", "inference.num_actors", self.num_actors, self.cpus_per_actor, gpus)

    def most_errors(self, rows: int) -> int | None:
        """How many of ``rows`` rows may have an error; None: any number."""
        if self.max_errored_rows is None:
            return None
        return int(self.max_errored_rows * rows if self.max_errored_rows < 1 else self.max_errored_rows)
