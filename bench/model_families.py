"""Which model families can be tuned, packed and served: every causal model type that transformers knows, tried small.

``make model-families`` builds each with random weights, loads it as training does, changes what would be trained,
exports it and compares the export with the changed module, fully tuned and with LoRA. It also loads each into the
transformers engine, which finds what it cannot do with batches of it. It prints the tables of docs/model-families.md. Types
that these general sizes do not build at all are listed as not tried. Names of types as arguments: those alone.
"""

import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from engines.alone import Trick
from engines.likelihood import scoring_limits
from handoff.errors import BatonError
from handoff.tokenizer import ModelTokenizer
from inference.config import InferenceConfig
from inference.engines.decoding import plain_attention
from inference.engines.transformers import TransformersEngine
from tests.tokenizers import digits, write_tokenizer
from training.config import BaseModelConfig, TrainingConfig
from training.export.check import measured, weight_problems
from training.export.model import gather, save_model
from training.export.tensors import noted
from training.recipe import inputs_of
from training.worker.attention import check_boundaries, check_causal, check_positions, layout_of
from training.worker.model import load_model
from training.worker.step import Rows, micro_batches

LARGEST = 20_000_000  # parameters of a model that counts as small
SIZES: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 128,
    "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0, "first_k_dense_replace": 1, "index_topk": 8,
    **dict.fromkeys(("encoder_layers", "decoder_layers"), 2), **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 128),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
}  # fmt: skip
OLDER: dict[str, Any] = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128, "rotary_dim": 8, "d_model": 64}
EXPERTS: dict[str, Any] = {
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64,
    "n_shared_experts": 1, "shared_expert_intermediate_size": 64, "n_group": 1, "topk_group": 1, "q_lora_rank": 16,
    "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 16, "first_k_dense_replace": 1,
}  # fmt: skip
# Short enough for the rows that are tried. Only of families that have them: the cache of any would keep to a window.
WINDOWS = dict.fromkeys(("sliding_window", "attention_window_size", "window_size", "local_attention"), 16)
WINDOWS |= dict.fromkeys(("chunk_size", "mamba_chunk_size", "block_size"), 8)
# A list with an entry for each layer that says of what kind it is; small models get one layer of each kind.
LAYERS = ("layer_types", "layers_block_type", "mlp_layer_types")
# Of families that say it otherwise, or whose class' own defaults leave a kind out.
OWN: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [1]},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "llama4_text": {"attention_chunk_size": 16},
    "mamba2": {"num_heads": 8, "head_dim": 16, "expand": 2},
    "recurrent_gemma": {"num_hidden_layers": 3, "lru_width": 64},
    "rwkv": {"attention_hidden_size": 64, "context_length": 128},
}
WITHOUT_GROUPS = {"num_key_value_heads": 4}
VARIANTS: tuple[dict[str, Any], ...] = (
    SIZES, SIZES | OLDER, SIZES | OLDER | EXPERTS, SIZES | WITHOUT_GROUPS, SIZES | OLDER | EXPERTS | WITHOUT_GROUPS,
    SIZES | OLDER | EXPERTS | WITHOUT_GROUPS | {"head_dim": 8},
)  # fmt: skip
IDS = np.random.default_rng(0).integers(5, 60, 48).astype(np.int32)
LENGTHS = (20, 28)  # of the documents that share a block

TRICKS: tuple[Trick, ...] = ("together", "padding", "cache", "leaving", "prefix")
ASPECTS = ("equal lengths", "padding", "cache", "ended rows leave", "shared prefix", "scoring")

Method = Literal["full", "lora"]


@dataclass(frozen=True)
class Found:
    """What became of one family.

    Attributes:
        family: its ``model_type``.
        blocks: ``packed``; ``padded`` where documents cannot share a block; or why it is refused or fails.
        full: ``same``, or why it cannot be tuned fully and published.
        lora: the same with adapters.
    """

    family: str
    blocks: str
    full: str = ""
    lora: str = ""


def build(family: str, directory: Path) -> Path:
    """A Hugging Face directory with a small random model of the family.

    Raises:
        ValueError: no general configuration builds one that is small enough.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = digits()
    own = OWN.get(family, {})
    for sizes in [sizes | more for more in (_layers(family) | own, own) for sizes in VARIANTS]:
        try:
            settings = AutoConfig.for_model(family, vocab_size=tokenizer.get_vocab_size(), **sizes)
            with torch.device("meta"):
                if sum(p.numel() for p in AutoModelForCausalLM.from_config(settings).parameters()) > LARGEST:
                    continue
            torch.manual_seed(0)
            model: Any = AutoModelForCausalLM.from_config(settings).eval()
            with torch.no_grad():
                model(input_ids=torch.from_numpy(IDS.astype(np.int64)).expand(2, -1))
            model.save_pretrained(directory)
        except Exception:  # each family has its own way to say that a size does not suit it
            continue
        write_tokenizer(directory, tokenizer)
        return directory
    raise ValueError(family)


def _layers(family: str) -> dict[str, Any]:
    """Settings of a model with one layer of each kind that the family's own configuration has, and short windows."""
    from transformers import AutoConfig

    try:
        settings = AutoConfig.for_model(family).get_text_config()
    except Exception:  # it has no configuration by itself
        return {}
    lists = {name: getattr(settings, name, None) for name in LAYERS}
    kinds = {name: list(dict.fromkeys(value)) for name, value in lists.items() if isinstance(value, list)}
    layers = max([2, *map(len, kinds.values())])
    several = {name: [own[n % len(own)] for n in range(layers)] for name, own in kinds.items() if len(own) > 1}
    windows = {name: size for name, size in WINDOWS.items() if getattr(settings, name, None)}
    return several | windows | {"num_hidden_layers": layers}


def try_family(family: str, base: Path, scratch: Path) -> Found:
    """Load, check, change, export and compare the model of ``base``, fully tuned and with LoRA."""
    config = TrainingConfig(base=BaseModelConfig(source=str(base)), method="full")
    try:
        model = load_model(str(base), config, 1)
        check_causal(model, model, config, "cpu")
    except BatonError as refusal:
        encoder = "see those after" in str(refusal) or "sees those after" in str(refusal)
        reason = "its tokens see those after them" if encoder else _short(refusal)
        return Found(family, f"refused: {reason}")
    except Exception as error:
        return Found(family, f"fails: {type(error).__name__}: {_short(error)}")
    try:
        check_positions(model, model, config, "cpu")
        check_boundaries(model, model, config, "cpu")
        blocks = "packed"
    except Exception:  # refused, or the model cannot compute where positions start again
        blocks = "padded"
    return Found(family, blocks, *(exported(base, scratch / method, method, blocks) for method in ("full", "lora")))


def in_batches(base: Path) -> tuple[str, ...]:
    """What of a batch leaves the rows of the model of ``base`` as they are alone, for each of ``ASPECTS``: ``yes``, ``no`` (so
    the engine does not do it), or ``unused`` where the engine does not do it with a model of its kind.
    """
    import torch

    config = InferenceConfig(temperature=0, max_prompt_tokens=60, max_new_tokens=20)
    try:
        tokenizer = ModelTokenizer.of_directory(base)
        engine = TransformersEngine(config, str(base), tokenizer)
        scoring = scoring_limits(engine.model, tokenizer.end_id, 80)
        with torch.inference_mode():
            cache = engine.model(input_ids=torch.from_numpy(IDS.astype(np.int64))[None]).get("past_key_values")
    except Exception as error:
        return (f"fails: {type(error).__name__}: {_short(error)}", *[""] * (len(ASPECTS) - 1))
    if why := next((why for why in engine.limits.why.values() if "alone (" in why), ""):
        return (why, *[""] * (len(ASPECTS) - 1))
    used = {"leaving": plain_attention(cache), "prefix": engine.shares_prefixes}
    found = [
        "no" if not engine.limits.allow(trick, 24) else "yes" if used.get(trick, True) else "unused" for trick in TRICKS
    ]
    return (*found, "yes" if not scoring.longest else "no")


def exported(base: Path, directory: Path, method: Any, blocks: str) -> str:
    """``same`` where the export of a changed model is that model; else what differs or fails."""
    import torch

    packing: Any = blocks
    config = TrainingConfig(base=BaseModelConfig(source=str(base)), method=method, packing=packing)
    lengths = np.array(LENGTHS if blocks == "packed" else (sum(LENGTHS),))
    row = Rows(IDS[None], np.concatenate([np.arange(n) for n in lengths]).astype(np.int32)[None], IDS[None])
    try:
        torch.manual_seed(0)
        model = load_model(str(base), config, 1)
        with torch.no_grad():
            for weights in model.parameters():
                if weights.requires_grad:
                    weights.add_(torch.randn_like(weights) * 0.02)
            (batch,) = micro_batches(row, 1, "cpu", layout_of(model, config))
            nll, logits = measured(IDS, lengths, model.eval()(**inputs_of(batch), use_cache=False).logits[0])
        request = {"ids": IDS, "lengths": lengths, "nll": nll, "logits": logits, "precision": "fp32"} | noted(
            model, 0, zero_stage=0
        )
        weights_by_name = gather(model, 0, zero_stage=0, trainable_only=method == "lora")
        save_model(weights_by_name, model, str(base), directory, config)
        return "; ".join(weight_problems(str(directory), request)) or "same"
    except Exception as error:
        return f"{type(error).__name__}: {_short(error)}"


def _short(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:150]


def main() -> None:
    """Try every family and print the table."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    from transformers.utils import logging as transformers_logging

    warnings.filterwarnings("ignore")
    transformers_logging.set_verbosity(transformers_logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    absent = []
    outcomes: dict[tuple[str, ...], list[str]] = {}
    batches: dict[tuple[str, ...], list[str]] = {}
    for family in sys.argv[1:] or sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        with tempfile.TemporaryDirectory() as scratch:
            try:
                base = build(family, Path(scratch, "base"))
            except ValueError:
                absent.append(family)
                continue
            found = try_family(family, base, Path(scratch))
            alone = in_batches(base)
        outcomes.setdefault((found.blocks, found.full, found.lora), []).append(family)
        if not found.blocks.startswith("refused"):
            batches.setdefault(alone, []).append(family)
        told = f"{found.blocks}; full {found.full}; LoRA {found.lora}; in batches {', '.join(alone)}"
        print(f"{family}: {told}", file=sys.stderr, flush=True)
    for heads, rows in (("blocks", "full", "LoRA (`all-linear`)"), outcomes), (ASPECTS, batches):
        print(f"| {' | '.join(heads)} | families |\n{'|---' * (len(heads) + 1)}|")
        for outcome, families in sorted(rows.items(), key=lambda item: -len(item[1])):
            print(f"| {' | '.join(outcome)} | {len(families)}: {', '.join(families)} |")
        print()
    print(f"Not tried, as the general sizes build none of at most 20 M parameters: {', '.join(absent)}")


if __name__ == "__main__":
    main()
