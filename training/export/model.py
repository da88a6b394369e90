"""The trained weights as a Hugging Face directory: gathered from the ZeRO shards, merged where LoRA, safetensors."""

import json
import shutil
from pathlib import Path
from typing import Any

from handoff.model_json import read_settings
from handoff.tokenizer import TOKENIZER_FILES, ModelTokenizer
from training.config import TrainingConfig

ADAPTER = "adapter"


def gather(model: Any, rank: int, *, zero_stage: int, trainable_only: bool) -> dict[str, Any]:
    """Full parameters by name, on rank 0 in host memory; an empty dict elsewhere. Every rank calls it.

    Args:
        model: the module inside the engine.
        rank: world rank.
        zero_stage: 3 gathers each parameter from its shards, one at a time.
        trainable_only: leave out what was frozen.
    """
    import contextlib

    import deepspeed

    gathered = {}
    for name, parameter in model.named_parameters():
        if trainable_only and not parameter.requires_grad:
            continue
        whole = deepspeed.zero.GatheredParameters([parameter]) if zero_stage == 3 else contextlib.nullcontext()
        with whole:
            if rank == 0:
                gathered[name] = parameter.detach().cpu().clone()
    return gathered


def save_model(
    weights: dict[str, Any], trained: Any, base_directory: str, directory: Path, config: TrainingConfig
) -> None:
    """Write the Hugging Face directory (rank 0), its weights in the precision that they were trained in.

    Args:
        weights: from :func:`gather`.
        trained: the trained module; for LoRA a PEFT model, whose adapter configuration is used.
        base_directory: the base model; its tokenizer files and generation settings go along.
        directory: where to write; created.
    """
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    unset_hf_deepspeed_config()  # models loaded from here on are not partitioned
    directory.mkdir(parents=True, exist_ok=True)
    dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
    model: Any = AutoModelForCausalLM.from_pretrained(base_directory, dtype=dtype)
    if config.method == "lora":
        adapter = directory / ADAPTER
        _save_adapter(weights, trained, adapter)
        model = _merged(model, adapter)
    else:
        missing, unexpected = model.load_state_dict(weights, strict=False)  # tied weights appear once
        tied = set(getattr(model, "all_tied_weights_keys", None) or ())
        assert not unexpected and set(missing) <= tied | {k for k, _ in model.named_buffers()}, (missing, unexpected)
    model.config.use_cache = True
    stop_ids = list(ModelTokenizer.of_directory(base_directory).stop_ids)
    model.config.eos_token_id = stop_ids[0] if len(stop_ids) == 1 else stop_ids
    model.generation_config = GenerationConfig()  # the base's may be one that transformers loads and refuses to save
    model.save_pretrained(directory)
    _write_generation_settings(Path(base_directory), directory, model.config.eos_token_id)
    copy_tokenizer(Path(base_directory), directory)


def copy_tokenizer(base: Path, directory: Path) -> None:
    """Copy the base's tokenizer files byte for byte.

    Loaded and saved by transformers they may become another tokenizer: for some model types it builds the
    pre-tokenizer anew (huggingface/transformers issues 45488 and 48206).
    """
    for pattern in TOKENIZER_FILES:
        for file in base.glob(pattern):
            shutil.copyfile(file, directory / file.name)


def _write_generation_settings(base: Path, directory: Path, stop_ids: int | list[int]) -> None:
    """The base's sampling defaults as they stand, with the tokens that end a text here."""
    name = "generation_config.json"
    settings = read_settings(base / name)
    (directory / name).write_text(json.dumps(settings | {"eos_token_id": stop_ids}, indent=2) + "\n")


def _save_adapter(weights: dict[str, Any], trained: Any, directory: Path) -> None:
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    directory.mkdir()
    state = get_peft_model_state_dict(trained, state_dict=weights)
    save_file({k: v.contiguous() for k, v in state.items()}, directory / "adapter_model.safetensors")
    settings = trained.peft_config["default"]
    settings.inference_mode = True
    settings.save_pretrained(directory)
    # PEFT records the base model's local directory; the manifest's parents identify it instead.
    file = directory / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "base_model_name_or_path": None}, indent=2))


def _merged(base: Any, adapter: Path) -> Any:
    from peft import PeftModel

    return PeftModel.from_pretrained(base, str(adapter)).merge_and_unload()
