"""The three Trigger forms: the dozen settings of each DAG that people change. All others go into ``overrides``."""

from orchestration.forms import Field, Form
from orchestration.presets import COMPARISON_PRESETS, INFERENCE_PRESETS, PRESETS
from orchestration.run_config import ComparisonRunConfig, InferenceRunConfig, RunConfig

ZERO = {0: "0: nothing", 1: "1: optimizer state", 2: "2: optimizer state and gradients", 3: "3: parameters too"}

TRAINING = Form(
    config=RunConfig,
    presets=PRESETS,
    preset_labels={"demo": "Demo (2 CPUs)", "tiny": "Tiny (a test)", "gptj": "GPT-J-6B (32 GPUs)"},
    fields={
        "source": Field("Data", "Corpus", ("corpus.source.uri",)),
        "base_model": Field("Model", "Base model", ("training.base.source",)),
        "method": Field(
            "Model", "Method", ("training.method",), {"lora": "LoRA: low-rank adapters", "full": "Full: all weights"}
        ),
        "max_steps": Field("Training", "Optimizer steps", ("training.max_steps",)),
        "learning_rate": Field("Training", "Learning rate", ("training.learning_rate",)),
        "seq_len": Field("Training", "Block length", ("training.seq_len",)),
        "num_workers": Field("Training", "Training workers", ("training.num_workers",)),
        "zero_stage": Field("Training", "ZeRO stage", ("training.zero_stage",), ZERO),
        "use_gpu": Field("Training", "Use GPUs", ("training.use_gpu", "evaluation.use_gpu", "inference.use_gpu")),
        "gate": Field("Gate and promotion", "Gate", ("evaluation.gate",)),
        "approval": Field("Gate and promotion", "Ask a person", ("promotion.approval",)),
        "model_name": Field("Gate and promotion", "Registered model", ("promotion.model_name",)),
        "prompts": Field("Predictions", "Prompts", ("inference.prompts",)),
        "temperature": Field("Predictions", "Temperature", ("inference.temperature",)),
    },
    # The preset's details are about its own corpus and model: with another one they return to the defaults.
    replaces={"source": ("corpus.source", "corpus.split"), "base_model": ("training.base",)},
    # Adapters bear a hundred times the rate that all weights do.
    follows={"training.method": ("training.learning_rate",)},
    example='{"corpus": {"passage_chars": 1500}, "training": {"lora": {"rank": 8}}}',
)

INFERENCE = Form(
    config=InferenceRunConfig,
    presets=INFERENCE_PRESETS,
    fields={
        "model_name": Field("Model", "Registered model", ("model.name",)),
        "alias": Field("Model", "Alias", ("model.alias",)),
        "version": Field("Model", "Version", ("model.version",)),
        "model": Field("Model", "Model artifact", ("model.path",)),
        "task": Field(
            "Prompts",
            "Task",
            ("inference.task",),
            {"generate": "Generate completions", "score": "Score given completions"},
        ),
        "prompts": Field("Prompts", "Prompts", ("inference.prompts",)),
        "baseline_prompts": Field("Prompts", "Prompts for the base model", ("inference.baseline_prompts",)),
        "max_new_tokens": Field("Sampling", "Longest completion", ("inference.max_new_tokens",)),
        "temperature": Field("Sampling", "Temperature", ("inference.temperature",)),
        "seed": Field("Sampling", "Seed", ("inference.seed",)),
        "num_actors": Field("Resources", "Model replicas", ("inference.num_actors",)),
        "batch_tokens": Field("Resources", "Tokens per batch", ("inference.batch_tokens",)),
        "use_gpu": Field("Resources", "Use GPUs", ("inference.use_gpu",)),
    },
    example='{"inference": {"top_p": 0.9, "template": "Q: {prompt} A:"}}',
)

COMPARISON = Form(
    config=ComparisonRunConfig,
    presets=COMPARISON_PRESETS,
    preset_labels={"first": "First look (17 minutes)", "full": "Whole method (hours)"},
    fields={
        "source": Field("Data", "Raw files", ("comparison.source.uri",)),
        "sizes_mb": Field("Data", "Sizes in MB", ("comparison.sizes_mb",)),
        "stages": Field("What", "Stages", ("comparison.stages",)),
        "engines": Field("What", "Engines", ("comparison.engines",)),
        "processes": Field("How", "Processes per form", ("comparison.processes",)),
        "warm_runs": Field("How", "Warm runs", ("comparison.warm_runs",)),
        "defaults": Field("How", "Default settings too", ("comparison.defaults",)),
        "budget_minutes": Field("How", "Time budget in minutes", ("comparison.budget_minutes",)),
        "memory_gib": Field("How", "Memory per engine in GiB", ("comparison.memory_gib",)),
    },
    replaces={"source": ("comparison.source",)},
    example='{"comparison": {"cores": 1, "cell_timeout_seconds": 120}}',
)
