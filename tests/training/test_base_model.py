"""The base model as an artifact, and one-line errors for what is not one."""

import json
import shutil
from pathlib import Path

import pytest

from handoff.errors import BatonError, ConfigError, EngineUnavailable, SourceError
from handoff.model_files import model_directory
from handoff.store import Store
from handoff.tokenizer import ModelTokenizer
from training.base.artifact import look_into, publish_base_model
from training.config import BaseModelConfig


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def of(source: Path | str) -> BaseModelConfig:
    return BaseModelConfig(source=str(source))


def test_a_directory_is_published_in_place(model: Path, store: Store) -> None:
    artifact = publish_base_model(of(model), store, Path("unused"))
    assert model_directory(artifact) == str(model)
    assert artifact.manifest.facts["architecture"] == "LlamaForCausalLM"
    assert publish_base_model(of(model), store, Path("unused")).id == artifact.id


def test_another_weight_is_another_model(model: Path, store: Store) -> None:
    before = publish_base_model(of(model), store, Path("unused")).id
    weights = model / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert publish_base_model(of(model), store, Path("unused")).id != before


def test_only_the_weights_that_are_loaded_count_and_are_published(model: Path, store: Store) -> None:
    """Llama's and Mistral's repositories hold the same weights a second time, under Meta's names."""
    from transformers import AutoModelForCausalLM

    shutil.copy(model / "model.safetensors", model / "consolidated.safetensors")
    shutil.copy(model / "model.safetensors", model / "pytorch_model.bin")
    artifact = publish_base_model(of(model), store, Path("unused"))
    loaded = AutoModelForCausalLM.from_pretrained(model)
    assert artifact.manifest.facts["parameters"] == sum(p.numel() for p in loaded.parameters())
    names = {f.path.rsplit("/", 1)[-1] for f in artifact.manifest.files}
    assert {n for n in names if not n.endswith(".json")} == {"model.safetensors"}
    assert f"{loaded.num_parameters() / 1e6:.1f} M parameters" in look_into(of(model), Path("unused")).line


def test_a_good_model_is_described(tiny_model: Path) -> None:
    assert "LlamaForCausalLM" in look_into(of(tiny_model), Path("unused")).line


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda d: shutil.rmtree(d), "does not exist"),
        (lambda d: (d / "config.json").unlink(), "has no config.json"),
        (lambda d: (d / "config.json").write_text("{"), r"config.json is no JSON \(line 1"),
        (
            lambda d: (d / "config.json").write_text('{"architectures": "LlamaForCausalLM"}'),
            'architectures is "LlamaForC',
        ),
        (lambda d: (d / "config.json").write_text('{"architectures": ["BertForMaskedLM"]}'), "BertForMaskedLM"),
        (lambda d: (d / "config.json").write_text("{}"), "no causal language model"),
    ],
)
def test_what_is_no_causal_model_is_named_before_a_run(model: Path, break_it: object, message: str) -> None:
    break_it(model)  # type: ignore[operator]
    with pytest.raises(BatonError, match=message) as error:
        look_into(of(model), Path("unused"))
    assert "Remedy" in str(error.value) and "\n" not in str(error.value)


def test_the_path_of_a_file_is_told_as_one(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    with pytest.raises(SourceError, match=r"model\.gguf is a file, not a Hugging Face directory\. Remedy: convert it"):
        look_into(of(file), Path("unused"))


def test_a_model_without_weights_is_not_published(model: Path, store: Store) -> None:
    (model / "model.safetensors").unlink()
    with pytest.raises(SourceError, match="holds no weights"):
        publish_base_model(of(model), store, Path("unused"))
    assert not list(store.files("model"))


def test_an_unknown_hub_id_offline_is_a_source_error() -> None:
    with pytest.raises(SourceError, match=r"nobody/nothing.*Remedy"):
        look_into(of("nobody/nothing"), Path("unused"))


@pytest.mark.faults  # the hub client waits between its own tries
def test_a_hub_that_does_not_answer_may_be_asked_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(EngineUnavailable, match=r"nobody/nothing .* cannot be reached.*Remedy: check network"):
        look_into(of("nobody/nothing"), Path("unused"))


def test_tokenizer_ends_passages_with_the_models_eos(tiny_model: Path, store: Store) -> None:
    tokenizer = ModelTokenizer.of_model(publish_base_model(of(tiny_model), store, Path("unused")))
    (ended,), (plain,) = tokenizer.texts(["Shall I"], end=True), tokenizer.texts(["Shall I"], end=False)
    assert ended == [*plain, tokenizer.end_id] and tokenizer.end_id == 0


def test_tokenizer_agrees_with_transformers(tiny_model: Path, store: Store) -> None:
    from transformers import AutoTokenizer

    text = "Rough winds do shake\nthe darling buds — of May"
    ours = ModelTokenizer.of_model(publish_base_model(of(tiny_model), store, Path("unused")))
    assert ours.texts([text], end=False) == [AutoTokenizer.from_pretrained(tiny_model)(text)["input_ids"]]


def test_a_model_without_eos_is_an_error(model: Path, store: Store) -> None:
    for name in ("tokenizer_config.json", "config.json", "generation_config.json"):
        settings = json.loads((model / name).read_text())
        settings.pop("eos_token", None)
        settings.pop("eos_token_id", None)
        (model / name).write_text(json.dumps(settings))
    with pytest.raises(ConfigError, match="end-of-sequence"):
        ModelTokenizer.of_model(publish_base_model(of(model), store, Path("unused")))


def test_a_tokenizer_that_makes_ids_beyond_the_models_vocabulary_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    directory = Path(shutil.copytree(tiny_model, tmp_path / "small"))
    loaded = AutoModelForCausalLM.from_pretrained(directory)
    loaded.resize_token_embeddings(300)
    loaded.save_pretrained(directory)
    with pytest.raises(ConfigError, match=r"makes the id 383 .* has a vocabulary of 300\. Remedy"):
        look_into(of(directory), Path("unused"))
