"""Tiny random models of every family that AutoModelForCausalLM has, built from their configurations."""

import contextlib
from collections.abc import Callable
from typing import Any

MOST_PARAMETERS = 60_000_000

# Sizes by all the names that configurations give them; of each family those count that it has.
SIZES: dict[str, int] = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim_model", "embedding_size", "lru_width"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "encoder_layers"), 2),
    **dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "d_ff", "dim_ff", "feed_forward_size"), 48),
    **dict.fromkeys(("decoder_ffn_dim", "encoder_ffn_dim"), 48),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "rotary_dim", "qk_rope_head_dim", "qk_nope_head_dim"), 4),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "mamba_d_ssm"), 64),
    **dict.fromkeys(("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "q_lora_rank", "kv_lora_rank"), 16),
    **dict.fromkeys(("head_dim", "attention_head_size", "dim_head", "v_head_dim", "state_size", "d_head"), 8),
    **dict.fromkeys(("mamba_n_heads", "mamba_d_head", "mamba_d_state", "hidden_size_per_layer_input"), 8),
    **dict.fromkeys(("n_group", "topk_group", "mamba_n_groups", "max_window_layers", "bos_token_id"), 1),
    **dict.fromkeys(("num_key_value_heads", "num_experts_per_tok", "num_attention_groups", "eos_token_id"), 2),
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input", "decoder_vocab_size"), 96),
    "entity_vocab_size": 10, "pad_token_id": 0,
}  # fmt: skip
LAYERS = ("layer_types", "block_types", "layers_block_type", "attention_types", "mlp_layer_types")  # one entry a layer
OWN: dict[str, dict[str, Any]] = {
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "mamba2": {"num_heads": 8, "head_dim": 8, "expand": 2},
    "reformer": {"is_decoder": True, "axial_pos_shape": [8, 8], "axial_pos_embds_dim": [16, 16]},
    "zaya": {"num_experts_per_tok": 1},
}


def families() -> list[str]:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return list(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def build(kind: str) -> Any:
    """A model of a family in evaluation mode.

    Raises:
        RuntimeError: these sizes make none of it that is small enough; the message has every reason.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    default = AutoConfig.for_model(kind)
    named = {k: v for k, v in SIZES.items() if type(getattr(default, k, None)) is int} | OWN.get(kind, {})
    ways: list[Callable[[], Any]] = [
        lambda: type(default)(**named),
        lambda: _shrunk(AutoConfig.for_model(kind)),
        lambda: default,
    ]
    reasons = []
    for way in ways:
        try:
            settings = way()
            with torch.device("meta"):
                parameters = sum(p.numel() for p in AutoModelForCausalLM.from_config(settings).parameters())
            if parameters <= MOST_PARAMETERS:
                torch.manual_seed(0)
                return AutoModelForCausalLM.from_config(settings).eval()
            reasons.append(f"{parameters:,} parameters")
        except Exception as error:  # whatever a configuration or a class says of these sizes
            reasons.append(f"{type(error).__name__}: {error}")
    raise RuntimeError("; ".join(reasons))


def _shrunk(settings: Any) -> Any:
    """A composite configuration with the sizes of all its parts set."""
    for name, size in SIZES.items():
        if type(getattr(settings, name, None)) is int:
            with contextlib.suppress(Exception):  # what is derived from others cannot be set
                setattr(settings, name, size)
    for name in LAYERS:
        if isinstance(kinds := getattr(settings, name, None), list):
            with contextlib.suppress(Exception):
                setattr(settings, name, kinds[:2])
    for part in getattr(settings, "sub_configs", None) or {}:
        if getattr(settings, part, None) is not None:
            _shrunk(getattr(settings, part))
    return settings


def sees_what_follows(model: Any) -> bool | None:
    """Whether logits depend on a later token; None where the tiny model does not run by itself."""
    import torch

    torch.manual_seed(1)
    ids = torch.randint(5, 90, (1, 12))
    other = ids.clone()
    other[0, -1] = (ids[0, -1] + 7) % 90 + 3
    try:
        with torch.no_grad():
            one, two = (model(input_ids=row, use_cache=False).logits for row in (ids, other))
    except Exception:  # sizes that a forward pass does not take, or other inputs than text
        return None
    return float((one[0, :-1] - two[0, :-1]).abs().max()) > 1e-5
