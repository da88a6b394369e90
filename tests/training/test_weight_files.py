"""What a directory of weights is, told from names and headers."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from handoff.errors import SourceError
from training.base.artifact import look_into
from training.base.weight_files import headers, weight_names
from training.config import BaseModelConfig


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


@pytest.fixture
def sharded(model: Path) -> Path:
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(model)
    (model / "model.safetensors").unlink()
    loaded.save_pretrained(model, max_shard_size="200KB")
    assert len(list(model.glob("model-*.safetensors"))) > 1
    return model


def refused(directory: Path) -> str:
    with pytest.raises(SourceError) as error:
        look_into(BaseModelConfig(source=str(directory)), Path("unused"))
    assert "Remedy: " in str(error.value) and "\n" not in str(error.value)
    return str(error.value)


def test_the_files_are_those_that_transformers_opens(sharded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM, modeling_utils

    (sharded / "consolidated.safetensors").write_bytes(b"x")
    opened: list[str] = []
    real = modeling_utils.safe_open
    monkeypatch.setattr(modeling_utils, "safe_open", lambda f, *a, **k: opened.append(Path(f).name) or real(f, *a, **k))
    AutoModelForCausalLM.from_pretrained(sharded)
    assert set(opened) == set(weight_names(sharded)) and len(opened) > 1


def test_shards_together_are_the_whole_model(sharded: Path, tiny_model: Path) -> None:
    assert headers([sharded / n for n in weight_names(sharded)]) == headers([tiny_model / "model.safetensors"])


def test_a_missing_shard_is_named(sharded: Path) -> None:
    shard = sorted(sharded.glob("model-*.safetensors"))[1]
    shard.unlink()
    assert f"lacks {shard.name} of the" in refused(sharded)


def test_an_index_that_is_none(sharded: Path) -> None:
    (sharded / "model.safetensors.index.json").write_text("[]")
    assert "is not a JSON object" in refused(sharded)


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json", "pytorch_model.bin"])
def test_a_git_lfs_pointer_is_told_as_such(model: Path, name: str) -> None:
    if name == "pytorch_model.bin":
        (model / "model.safetensors").unlink()
    (model / name).write_text(POINTER)
    assert f"{name} is a Git LFS pointer" in refused(model) and "git lfs pull" in refused(model)


@pytest.mark.parametrize("keep", [0, 5, 200, -1])
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_a_file_that_was_cut_short_is_named(model: Path, kind: str, keep: int) -> None:
    file = model / "model.safetensors"
    if kind == "bin":
        file = pickled(model, {})
    file.write_bytes(file.read_bytes()[:keep])
    assert f"{file.name} (" in refused(model) and "cut short" in refused(model)


def pickled(model: Path, changes: dict[str, Any], whole: Any = None) -> Path:
    import torch
    from safetensors.torch import load_file

    state = load_file(model / "model.safetensors") | changes
    (model / "model.safetensors").unlink()
    torch.save(whole or state, model / "pytorch_model.bin")
    return model / "pytorch_model.bin"


def test_pickled_weights_are_compared_too(model: Path) -> None:
    import torch

    pickled(model, {})
    assert "LlamaForCausalLM" in look_into(BaseModelConfig(source=str(model)), Path("unused")).line
    pickled_again = torch.load(model / "pytorch_model.bin")
    del pickled_again["model.norm.weight"]
    torch.save(pickled_again, model / "pytorch_model.bin")
    assert "lack 1 of the model's (model.norm.weight)" in refused(model)


def test_a_pickle_that_holds_more_than_tensors_is_never_run(model: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    pickled(model, {}, whole={"x": Evil()})
    assert "holds more than tensors" in refused(model)
    assert not (tmp_path / "ran").exists()


def test_a_training_checkpoint_is_not_taken_for_weights(model: Path) -> None:
    pickled(model, {}, whole={"model": {}, "step": 3})
    assert "is no dictionary of tensors" in refused(model)


def test_no_weights_at_all(model: Path) -> None:
    (model / "model.safetensors").unlink()
    (model / "model.safetensors.index.json.bak").write_text(json.dumps({}))
    assert "holds no weights" in refused(model)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("pickled", [False, True])
def test_weights_that_are_no_numbers_are_named(
    value: str, pickled: bool, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was told at the first step, as a learning rate that is too high."""
    import torch
    from safetensors.torch import load_file, save_file

    from training.base import artifact, weight_files
    from training.config import TrainingConfig
    from training.worker.model import load_model

    monkeypatch.setattr(weight_files, "PART_NUMBERS", 640)  # ten rows of it
    look_into(BaseModelConfig(source=str(model)), Path("unused"))
    name, file = "model.layers.1.mlp.up_proj.weight", model / "model.safetensors"
    weights = load_file(file)
    weights[name][[3, 70], 5] = float(value)
    if pickled:
        file.unlink()
        torch.save(weights, model / "pytorch_model.bin")
    else:
        save_file(weights, file, {"format": "pt"})
    assert f"the tensor {name} has 2 values that are no numbers" in refused(model)
    monkeypatch.setattr(artifact, "SCANNED_BYTES", 0)
    look_into(BaseModelConfig(source=str(model)), Path("unused"))
    with pytest.raises(SourceError, match=f"the tensor {name} has 2 values that are no numbers"):
        load_model(str(model), TrainingConfig(base=BaseModelConfig(source=str(model)), zero_stage=0), 1)
