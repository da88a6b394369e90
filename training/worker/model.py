"""The model as the workers train it: DeepSpeed imported, weights loaded (sharded under ZeRO 3), adapters put on."""

import sys
from pathlib import Path
from typing import Any

from handoff.errors import ConfigError
from training.base.model_check import compare, make_model, quiet, refuse_differences
from training.base.weight_files import headers, listed, not_finite, weight_names
from training.config import LoraConfig, TrainingConfig
from training.worker.attention import attention_of
from training.worker.deepspeed_config import deepspeed_config


def import_deepspeed() -> None:
    """Import DeepSpeed without MLflow, which its autotuner imports wherever it is installed: 4 s of each worker's CPU."""
    absent = "mlflow" not in sys.modules
    if absent:
        sys.modules["mlflow"] = None  # type: ignore[assignment]
    try:
        import deepspeed  # noqa: F401
    finally:
        if absent:
            del sys.modules["mlflow"]


def load_model(directory: str, config: TrainingConfig, world_size: int, model_class: Any = None) -> Any:
    """The base model ready for DeepSpeed; with adapters, and all else frozen, for LoRA.

    Under ZeRO 3 each weight is sharded as it is loaded, so no worker ever holds the whole model.

    Raises:
        SourceError: the files lack weights of the model, or hold others, or values that are no numbers.
        ConfigError: ``model_class`` has other parameters than the base model's own class.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.integrations import HfDeepSpeedConfig

    if model_class:
        _refuse_other_parameters(directory, model_class)
    # ZeRO 3's loader tells of missing weights alone, and none says which of the tensors that it fuses does not fit.
    files = [Path(directory, name) for name in weight_names(Path(directory))]
    compare(make_model(Path(directory)), headers(files), directory)
    sharding = HfDeepSpeedConfig(deepspeed_config(config, world_size)) if config.zero_stage == 3 else None
    dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
    model = load(directory, model_class or AutoModelForCausalLM, dtype=dtype, attn_implementation=attention_of(config))
    _refuse_not_finite(model, directory, world_size)
    del sharding  # transformers keeps a weak reference: it had to live until here
    model.config.use_cache = False
    if config.activation_checkpointing:
        model.gradient_checkpointing_enable()
    if config.method == "lora":
        from peft import get_peft_model

        if config.activation_checkpointing:
            model.enable_input_require_grads()
        model = get_peft_model(model, peft_config(config.lora))
    model.train()
    return model


def load(directory: str, of_class: Any, **how: Any) -> Any:
    """``of_class.from_pretrained``, every weight from the files: transformers by itself trains what is missing from random values.

    Raises:
        SourceError: naming weights that are missing, unexpected or of another shape.
    """
    with quiet():
        model, info = of_class.from_pretrained(
            directory, output_loading_info=True, ignore_mismatched_sizes=True, trust_remote_code=False, **how
        )
    refuse_differences(info, directory)
    return model


def _refuse_not_finite(model: Any, where: str, world_size: int) -> None:
    """Raise SourceError on every rank where a weight is no number; under ZeRO 3 each rank looks at its shards."""
    import torch

    found: tuple[str, int] | None = None
    for name, parameter in model.named_parameters():
        mine = getattr(parameter, "ds_tensor", parameter)
        if count := int((~torch.isfinite(mine)).sum()):
            found = name, count
            break
    if world_size > 1:  # a rank that loads a model for itself asks no other one
        of_ranks: list[tuple[str, int] | None] = [None] * world_size
        torch.distributed.all_gather_object(of_ranks, found)
        found = next(filter(None, of_ranks), None)
    if found:
        raise not_finite(where, *found)


def peft_config(lora: LoraConfig) -> Any:
    """PEFT's configuration of the adapters."""
    import peft

    targets = lora.targets
    return peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]
        lora_dropout=lora.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type="CAUSAL_LM",
    )


def _refuse_other_parameters(directory: str, model_class: Any) -> None:
    """See that a class has the parameters of the base model's own; both are made without memory. Raises ConfigError."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = AutoConfig.from_pretrained(directory)
    with torch.device("meta"):
        made = AutoModelForCausalLM.from_config(settings), model_class(settings)
    own, other = ({name for name, _ in model.named_parameters()} for model in made)
    if own ^ other:
        raise ConfigError(
            f"{model_class.__name__} and the base model's own class do not share the parameters {listed(own ^ other)}. "
            "Remedy: give the class the base's parameters under their names; the trained model is one of the base's class"
        )
