"""Plain Hugging Face Trainer on the benchmark's blocks, in one process.

Usage: python -m bench.trainer_side SPEC.json, the specification being that of :mod:`bench.bare_train`. Each block must
be one document, because the Trainer knows no boundaries.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.bare_train import load
from training.config import TrainingConfig


def main(spec: dict[str, Any]) -> None:
    """Train ``spec["steps"]`` steps and write the trace."""
    import torch
    from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments

    config, blocks = TrainingConfig.model_validate(spec["config"]), load(spec["blocks"])
    seconds: list[float] = []

    class Clock(TrainerCallback):
        """Seconds of each step, the GPU's queued work included."""

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.begun = time.monotonic()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            if config.use_gpu:
                torch.cuda.synchronize()
            seconds.append(time.monotonic() - self.begun)

    torch.manual_seed(config.seed)
    rows = [
        {"input_ids": torch.from_numpy(ids).long(), "labels": torch.from_numpy(labels).long()}
        for ids, labels in zip(blocks.ids, blocks.labels, strict=True)
    ]
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            model=AutoModelForCausalLM.from_pretrained(spec["directory"], dtype=torch.float32),
            args=TrainingArguments(
                output_dir=scratch,
                per_device_train_batch_size=config.micro_batch_size,
                gradient_accumulation_steps=config.gradient_accumulation(1),
                max_steps=spec["steps"],
                learning_rate=config.learning_rate,
                lr_scheduler_type=config.schedule,
                warmup_steps=0,
                weight_decay=config.weight_decay,
                max_grad_norm=config.gradient_clipping,
                optim="adamw_torch_fused" if config.use_gpu else "adamw_torch",
                bf16=config.precision == "bf16",
                gradient_checkpointing=config.activation_checkpointing,
                use_cpu=not config.use_gpu,
                train_sampling_strategy="sequential",
                logging_steps=1,
                report_to="none",
                save_strategy="no",
                disable_tqdm=True,
            ),
            train_dataset=rows,  # type: ignore[arg-type]
            callbacks=[Clock()],
        )
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    tokens = config.tokens_per_step
    trace = [
        {"step": i + 1, "loss": loss, "tokens": tokens, "seconds": taken}
        for i, (loss, taken) in enumerate(zip(losses, seconds, strict=True))
    ]
    memory = torch.cuda.max_memory_allocated() if config.use_gpu else 0
    Path(spec["out"]).write_text(json.dumps({"trace": trace, "memory_bytes": memory}))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
