"""A base model whose files are not the weights that its config.json asks for is refused in the plan and by the loader."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from handoff.errors import SourceError
from tests.training.families import build
from training.base_model import look_into
from training.config import BaseModelConfig, TrainingConfig
from training.model import load_model

State = dict[str, Any]


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def rewrite(model: Path, change: Callable[[State], State]) -> None:
    from safetensors.torch import load_file, save_file

    state = change(load_file(model / "model.safetensors"))
    save_file({k: v.contiguous() for k, v in state.items()}, model / "model.safetensors", {"format": "pt"})


def configure(directory: Path, name: str = "config.json", **changes: Any) -> None:
    settings = json.loads((directory / name).read_text()) | changes
    (directory / name).write_text(json.dumps({k: v for k, v in settings.items() if v is not None}))


def refused(directory: Path) -> str:
    with pytest.raises(SourceError) as error:
        look_into(BaseModelConfig(source=str(directory)), Path("unused"))
    assert "Remedy: " in str(error.value) and "\n" not in str(error.value)
    return str(error.value)


def accepted(directory: Path) -> str:
    return look_into(BaseModelConfig(source=str(directory)), Path("unused")).line


def renamed(prefix: str) -> Callable[[State], State]:
    return lambda state: {prefix + key: value for key, value in state.items()}


def without_layer(state: State) -> State:
    return {k: v for k, v in state.items() if ".layers.1." not in k}


def with_another(state: State) -> State:
    return state | {"v_head.summary.weight": state["model.norm.weight"].clone()}


def narrower(state: State) -> State:
    return state | {"model.layers.0.self_attn.q_proj.weight": state["model.layers.0.self_attn.q_proj.weight"][:32]}


WRONG = [
    (renamed("_orig_mod."), r"lack 21 .*hold 21 that the model has not \(_orig_mod\..*torch.compile"),
    (renamed("module."), r"DataParallel or DeepSpeed wrapper: save its module"),
    (renamed("base_model.model."), r"merge_and_unload\(\)"),
    (without_layer, r"lack 9 of the model's \(model\.layers\.1\.input_layernorm\.weight, .* and 5 more\)"),
    (with_another, r"hold 1 that the model has not \(v_head\.summary\.weight\)"),
    (narrower, r"hold 1 of another shape \(model\.layers\.0\.self_attn\.q_proj\.weight \(32, 64\) for \(64, 64\)\)"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_other_weights_than_the_models_are_named_by_the_plan_and_by_the_loader(
    model: Path, change: Callable[[State], State], message: str, kind: str
) -> None:
    rewrite(model, change)
    if kind == "bin":
        import torch
        from safetensors.torch import load_file

        torch.save(load_file(model / "model.safetensors"), model / "pytorch_model.bin")
        (model / "model.safetensors").unlink()
    assert re.search(message, refused(model))
    for stage in (0, 3):
        config = TrainingConfig(base=BaseModelConfig(source=str(model)), method="full", zero_stage=stage)
        with pytest.raises(SourceError) as error:
            load_model(str(model), config, 1)
        assert re.search(message, str(error.value))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: None, r"lack 1 of the model's \(model\.layers\.0\.block_sparse_moe\.experts\.0\.w1\.weight\)"),
        (
            lambda t: t[:3],
            r"another shape \(model\.layers\.0\.block_sparse_moe\.experts\.0\.w1\.weight \(3, 32\) for \(48, 32\)\)",
        ),
    ],
)
def test_experts_that_are_fused_as_they_are_loaded_are_named_one_by_one(
    model: Path, change: Callable[[Any], Any], message: str
) -> None:
    build("mixtral").save_pretrained(model)
    expert = "model.layers.0.block_sparse_moe.experts.0.w1.weight"
    rewrite(model, lambda state: {k: v for k, v in {**state, expert: change(state[expert])}.items() if v is not None})
    assert re.search(message, refused(model))


def test_buffers_that_older_versions_saved_are_no_fault(model: Path) -> None:
    """GPT-J's own checkpoint holds the causal mask of each layer, which today's class computes."""
    import torch
    from transformers import GPTJConfig, GPTJForCausalLM

    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "rotary_dim": 8, "n_positions": 64, "vocab_size": 384}
    GPTJForCausalLM(GPTJConfig(**sizes)).save_pretrained(model)

    def as_of_old(state: State) -> State:
        for layer in (0, 1):
            state[f"transformer.h.{layer}.attn.bias"] = torch.ones(1, 1, 64, 64, dtype=torch.uint8)
            state[f"transformer.h.{layer}.attn.masked_bias"] = torch.tensor(-1e9)
        return state

    rewrite(model, as_of_old)
    assert "GPTJForCausalLM" in accepted(model)
    config = TrainingConfig(base=BaseModelConfig(source=str(model)), method="full", zero_stage=0)
    assert load_model(str(model), config, 1)


def test_half_precision_is_no_fault(model: Path) -> None:
    rewrite(model, lambda state: {k: v.half() for k, v in state.items()})
    assert "LlamaForCausalLM" in accepted(model)


# -- quantised


def four_bit(state: State) -> State:
    """As bitsandbytes saves it."""
    import torch

    key = "model.layers.0.mlp.up_proj.weight"
    return state | {key: torch.zeros(4096, 1, dtype=torch.uint8), f"{key}.absmax": torch.zeros(128)}


def gptq(state: State) -> State:
    import torch

    state.pop("model.layers.0.mlp.up_proj.weight")
    return state | {"model.layers.0.mlp.up_proj.qweight": torch.zeros(8, 128, dtype=torch.int32)}


def fp8(state: State) -> State:
    import torch

    key = "model.layers.0.mlp.up_proj.weight"
    return state | {key: state[key].to(torch.float8_e4m3fn)}


@pytest.mark.parametrize("change", [four_bit, gptq, fp8])
def test_quantised_weights_are_refused_by_their_headers(model: Path, change: Callable[[State], State]) -> None:
    rewrite(model, change)
    assert "are quantised (model.layers.0.mlp.up_proj" in refused(model)


@pytest.mark.parametrize("method", ["bitsandbytes", "gptq", "awq", "fp8", "compressed-tensors", "mxfp4"])
def test_quantised_weights_are_refused_by_their_configuration(model: Path, method: str) -> None:
    configure(model, quantization_config={"quant_method": method})
    assert f"are quantised (quantization_config, {method})" in refused(model)


# -- classes that cannot be had


def test_an_unknown_model_type(model: Path) -> None:
    configure(model, model_type="llama9")
    assert "model_type 'llama9'" in refused(model)


def test_a_model_with_code_of_its_own(model: Path) -> None:
    configure(model, model_type="my_llama", auto_map={"AutoModelForCausalLM": "modeling_my.MyLlama"})
    (model / "modeling_my.py").write_text("raise SystemExit('code of the model ran')")
    assert "needs code of its own (auto_map in config.json), which is never run here" in refused(model)


def test_a_model_that_transformers_has_needs_none_of_the_code_beside_it(model: Path) -> None:
    configure(model, auto_map={"AutoModelForCausalLM": "modeling_my.MyLlama", "AutoConfig": "modeling_my.MyConfig"})
    assert "LlamaForCausalLM" in accepted(model)


def test_a_value_that_the_configuration_does_not_take(model: Path) -> None:
    configure(model, num_attention_heads="many")
    assert "makes no causal language model of" in refused(model)


def test_an_adapter_is_no_base_model(model: Path) -> None:
    (model / "adapter_config.json").write_text("{}")
    assert "holds an adapter" in refused(model)


# -- encoders


def encoder(kind: str, **settings: Any) -> tuple[Any, Any]:
    """A tiny model of a family by name, and how far its logits depend on a later token."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {
        "vocab_size": 384,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
    }
    torch.manual_seed(0)
    made = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **sizes, **settings)).eval()
    ids = torch.arange(5, 17)[None]
    other = ids.clone()
    other[0, -1] = 300
    with torch.no_grad():
        return made, float((made(input_ids=ids).logits - made(input_ids=other).logits)[0, :-1].abs().max())


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra", "camembert", "roformer", "megatron-bert"])
def test_an_encoder_is_refused_and_its_decoder_is_not(model: Path, kind: str) -> None:
    made, seen = encoder(kind)
    assert seen > 1e-6, "it sees what follows"
    made.save_pretrained(model)
    configure(model, architectures=["BertLMHeadModel" if kind == "bert" else type(made).__name__])
    assert "is an encoder: each token sees those after it" in refused(model)
    made, seen = encoder(kind, is_decoder=True)
    assert seen < 1e-6, "it sees nothing of what follows"
    made.save_pretrained(model)
    assert type(made).__name__ in accepted(model)
