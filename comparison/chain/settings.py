"""What the three architectures of the chain are told alike: the model, the training section, the prompts."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from comparison.form import Work
from comparison.stages.shared.model import model_of
from handoff.tokenizer import ModelTokenizer
from inference.config import InferenceConfig
from training.config import BaseModelConfig, TrainingConfig

WORKERS = 2
STEPS = 12  # whatever the size: text scales what ETL does; training and prompts stay the same
CHECKPOINT_EVERY = 4
PROMPTS = 64
BATCH_ROWS = 16  # prompts that an engine is given at once
OPENING_WORDS = 20


@dataclass(frozen=True)
class Chain:
    """Settings of one run.

    Attributes:
        base: Hugging Face directory of the model to tune.
        scratch: directory of rows, checkpoints and the tuned model; the next run removes it.
        training: the training section: two workers, whole weights, ZeRO 2.
        steps: optimizer steps.
        inference: sampled from each prompt's own seed, whatever the batch.
        prompts: openings of the first rows of the global order.
        retries: how often the caller tries a part again that failed.
        die: parts in which one worker dies, once in each: of ``etl,train,predict``, with commas; "" for none.
    """

    base: str
    scratch: Path
    training: TrainingConfig
    steps: int
    inference: InferenceConfig
    prompts: int
    retries: int = 0
    die: str = ""

    @classmethod
    def of(cls, work: Work) -> "Chain":
        """The settings for this work; ``options`` may have model, steps, prompts, retries, die."""
        workers = min(WORKERS, work.cores)
        cpus = work.cores // workers
        base = str(model_of(work))
        scratch = work.scratch / "chain"
        training = TrainingConfig(
            base=BaseModelConfig(source=base),
            method="full",
            learning_rate=1e-3,
            seq_len=64,
            micro_batch_size=2,
            num_workers=workers,
            cpus_per_worker=cpus,
            seed=work.seed,
        )
        inference = InferenceConfig(  # sampled: a model of a few steps would greedily say one thing to all
            max_new_tokens=16,
            temperature=1,
            top_p=1,
            seed=work.seed,
            num_actors=workers,
            cpus_per_actor=cpus,
        )
        steps, prompts = int(work.options.get("steps", STEPS)), int(work.options.get("prompts", PROMPTS))
        retries, die = int(work.options.get("retries", 0)), str(work.options.get("die", ""))
        return cls(base, scratch, training, steps, inference, prompts, retries, die)

    def fresh(self) -> "Chain":
        """These settings, after whatever an earlier run left is removed."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        return self

    @property
    def rows(self) -> Path:
        """Directory of the ordered rows, schema ``handoff.schema.CORPUS``; the files' names are in the order."""
        return self.scratch / "rows"

    @property
    def tuned(self) -> Path:
        """Hugging Face directory of the tuned model."""
        return self.scratch / "tuned"

    @property
    def tokenizer(self) -> ModelTokenizer:
        """Of the model."""
        return ModelTokenizer.of_directory(self.base)

    def mark(self, part: str) -> Path | None:
        """The file whose presence says that a worker has killed itself in a part; None where none shall."""
        return self.scratch / f"died-{part}" if part in self.die.split(",") else None
