"""Settings that do not fit the base model are refused before anything runs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import handoff.token_facts
from handoff.errors import BatonError, ConfigError
from handoff.positions import completion_length, positions_of, refuse_too_long
from tests.tokenizers import digits, write_model
from training.base.artifact import check_fit, look_into
from training.base.fit_check import refuse_targets
from training.base.model_check import make_model
from training.config import BaseModelConfig, LoraConfig, TrainingConfig
from training.export.check import AUTO_TOKENIZER_DIFFERS


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


# -- lengths


@pytest.mark.parametrize(
    ("settings", "positions"),
    [
        ({"max_position_embeddings": 2048}, 2048),
        ({"n_positions": 1024, "n_ctx": 1024}, 1024),
        ({"max_seq_len": 2048}, 2048),
        ({"text_config": {"max_position_embeddings": 4096}}, 4096),
        ({"max_position_embeddings": 32768, "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}}, 131072),
        ({"max_position_embeddings": 131072, "rope_parameters": {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}}, 131072),
        ({"max_position_embeddings": -1}, None),
        ({"state_size": 16}, None),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "camembert", "max_position_embeddings": 514}, 512),
    ],
)  # fmt: skip
def test_positions_by_the_names_that_models_give_them(settings: dict[str, Any], positions: int | None) -> None:
    assert positions_of(settings) == positions


def test_a_default_that_config_json_leaves_out_counts(model: Path) -> None:
    """GPT-2's class fails with an IndexError past the 1,024 positions that its configuration has by default."""
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=384)).save_pretrained(model)
    settings = json.loads((model / "config.json").read_text())
    kept = {k: v for k, v in settings.items() if k not in ("n_positions", "n_ctx")}
    (model / "config.json").write_text(json.dumps(kept))
    seen = look_into(BaseModelConfig(source=str(model)), Path("unused"))
    with pytest.raises(ConfigError, match=r"has 1,024 positions, and training\.seq_len is 2,048"):
        check_fit(seen, TrainingConfig(base=BaseModelConfig(source=str(model)), seq_len=2048), {})


def test_every_length_is_told() -> None:
    lengths = {"training.seq_len": 600, "evaluation.max_tokens": 512} | completion_length(512)
    with pytest.raises(ConfigError) as error:
        refuse_too_long({"max_position_embeddings": 512}, lengths)
    assert "training.seq_len is 600, inference.max_new_tokens (and a prompt) is 513" in str(error.value)


# -- LoRA


def made(**settings: Any) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(**{"model_type": "llama", **sizes, **settings}))


def test_targets_that_are_there() -> None:
    refuse_targets(made(), LoraConfig())
    refuse_targets(made(), LoraConfig(targets=("q_proj", "mlp.up_proj")))
    refuse_targets(made(tie_word_embeddings=False), LoraConfig(targets=("lm_head", "embed_tokens")))


@pytest.mark.parametrize("targets", [("lm_head",), ("embed_tokens",), ("q_proj", "lm_head")])
def test_a_target_whose_weight_another_module_shares_is_refused(targets: tuple[str, ...]) -> None:
    refuse_targets(made(tie_word_embeddings=True), LoraConfig())
    with pytest.raises(ConfigError, match=r"shares its weight with another module .* Remedy: leave it out"):
        refuse_targets(made(tie_word_embeddings=True), LoraConfig(targets=targets))


def test_names_that_are_not_there_are_told_with_those_that_are() -> None:
    with pytest.raises(
        ConfigError, match=r"LlamaForCausalLM has no module c_attn, wte\. Remedy: choose of down_proj, .*v_proj"
    ):
        refuse_targets(made(), LoraConfig(targets=("c_attn", "q_proj", "wte")))


def test_a_module_that_cannot_be_adapted() -> None:
    with pytest.raises(ConfigError, match=r"cannot be adapted \(Target module LlamaMLP\). Remedy: choose of down_proj"):
        refuse_targets(made(), LoraConfig(targets=("mlp",)))


def test_experts_that_all_linear_leaves_as_they_are_are_told() -> None:
    note = refuse_targets(made(model_type="granitemoe", intermediate_size=48, num_local_experts=4), LoraConfig())
    assert note and note.startswith(
        "all-linear adapts no experts of GraniteMoeForCausalLM: down_proj, gate_up_proj are no"
    )
    assert refuse_targets(made(model_type="mixtral", intermediate_size=48, num_local_experts=4), LoraConfig()) is None
    assert refuse_targets(made(), LoraConfig()) is None


def test_gpt2s_layers_are_linear_too() -> None:
    model = made(model_type="gpt2")
    refuse_targets(model, LoraConfig(targets=("c_attn",)))
    with pytest.raises(ConfigError, match=r"no module q_proj\. Remedy: choose of c_attn, c_fc, c_proj"):
        refuse_targets(made(model_type="gpt2"), LoraConfig(targets=("q_proj",)))


# -- the tokenizer


def refused(directory: Path) -> str:
    with pytest.raises(BatonError) as error:
        look_into(BaseModelConfig(source=str(directory)), Path("unused"))
    assert "Remedy: " in str(error.value)
    return str(error.value)


def configure(directory: Path, name: str, **changes: Any) -> None:
    (directory / name).write_text(json.dumps(json.loads((directory / name).read_text()) | changes))


def test_no_fast_tokenizer(model: Path) -> None:
    (model / "tokenizer.json").unlink()
    assert "has no tokenizer.json" in refused(model)


def test_a_tokenizer_with_code_of_its_own(model: Path) -> None:
    own = {"tokenizer_class": "MyTokenizer", "auto_map": {"AutoTokenizer": ["tokenization_my.MyTokenizer", None]}}
    configure(model, "tokenizer_config.json", **own)
    (model / "tokenization_my.py").write_text("raise SystemExit('code of the model ran')")
    assert "needs code of its own (auto_map), which is never run here" in refused(model)


@pytest.mark.parametrize("content", ["{", "{}", '{"version": "1.0", "model": {"type": "Unheard"}}'])
def test_a_damaged_tokenizer(model: Path, content: str) -> None:
    (model / "tokenizer.json").write_text(content)
    assert "/tokenizer.json is no " in refused(model)


def test_a_tokenizer_that_makes_other_tokens_each_time_is_refused(model: Path) -> None:
    settings = json.loads((model / "tokenizer.json").read_text())
    settings["model"]["dropout"] = 0.1
    (model / "tokenizer.json").write_text(json.dumps(settings))
    assert "/tokenizer.json: model.dropout is 0.1: the tokenizer makes other tokens" in refused(model)
    settings["model"]["dropout"] = 0.0
    (model / "tokenizer.json").write_text(json.dumps(settings))
    look_into(BaseModelConfig(source=str(model)), Path("unused"))


def test_what_transformers_reads_otherwise_is_refused_before_training(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A net for files of a kind that the reader does not know: here a reader that misses the tokens of other files."""
    ids = json.loads((model / "tokenizer.json").read_text())["model"]["vocab"]
    decoder = {str(ids[text]): {"content": text, "special": True} for text in ("e", "<|endoftext|>")}
    configure(model, "tokenizer_config.json", added_tokens_decoder=decoder)
    look_into(BaseModelConfig(source=str(model)), Path("unused"))
    monkeypatch.setattr(handoff.token_facts, "_added", lambda subject, read: ({}, ""))
    text = refused(model)
    assert "transformers reads the tokenizer of" in text and "it makes other tokens of" in text


def test_the_model_is_made_without_memory(model: Path) -> None:
    assert {p.device.type for p in make_model(model).parameters()} == {"meta"}


def test_a_tokenizer_that_autotokenizer_rebuilds_is_told_and_not_refused(model: Path) -> None:
    """Qwen2's class takes digits singly, and adds a token beyond the vocabulary; the file does neither."""
    assert AUTO_TOKENIZER_DIFFERS not in look_into(BaseModelConfig(source=str(model)), Path("unused")).line
    base = write_model(model.parent / "qwen2", digits())
    assert AUTO_TOKENIZER_DIFFERS in look_into(BaseModelConfig(source=str(base)), Path("unused")).line


def test_a_worker_of_airflow_without_torch_checks_what_it_can_and_says_what_comes_later(model: Path) -> None:
    code = f"""
import sys
sys.modules.update(dict.fromkeys(["torch", "transformers", "safetensors", "huggingface_hub"]))
from pathlib import Path
from training.base.artifact import check_fit, look_into
from training.config import BaseModelConfig, TrainingConfig
base = BaseModelConfig(source={str(model)!r})
seen = look_into(base, Path("unused"))
print(seen.line)
print(look_into(BaseModelConfig(source="owner/name"), Path("unused")).line)
try:
    check_fit(seen, TrainingConfig(base=base, seq_len=513), {{}})
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "owner/name; it is looked into when training starts" in done.stdout, done.stderr
    assert "its weights are compared with its class when training starts: torch and transformers are not" in done.stdout
    assert "has 512 positions, and training.seq_len is 513" in done.stdout, done.stderr
