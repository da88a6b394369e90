"""Every JSON file of a model directory, damaged in many ways: *plan* names the file and the remedy, or the damage is none."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from handoff.errors import BatonError
from handoff.model_json import LFS_POINTER
from training.base.artifact import check_fit, look_into
from training.config import BaseModelConfig, TrainingConfig

FILES = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "model.safetensors.index.json",
)  # fmt: skip


def each_value(change: Callable[[Any], Any]) -> Callable[[bytes], bytes]:
    """Damage every value of an object."""
    return lambda content: json.dumps({key: change(value) for key, value in json.loads(content).items()}).encode()


def another_type(value: Any) -> Any:
    return 7 if isinstance(value, str | list | dict) else "seven"


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda content: content[: len(content) // 2],
    "a list": lambda content: b"[" + content + b"]",
    "null": lambda _: b"null",
    "zeros": lambda content: bytes(len(content)),
    "UTF-16": lambda content: content.decode().encode("utf-16"),
    "no UTF-8": lambda content: content.replace(b":", b":\xff", 1),
    "a Git LFS pointer": lambda _: LFS_POINTER + b"/spec/v1\noid sha256:0\n",
    "deep": lambda _: b"[" * 100_000,
    "twice": lambda content: content * 2,
    "other types": each_value(another_type),
    "negative": each_value(lambda value: -1 if isinstance(value, int) else value),
    "nulls": each_value(lambda _: None),
    "lists": each_value(lambda value: [value]),
}


@pytest.fixture(scope="module")
def whole(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory with every file that older and newer versions of transformers write."""
    directory = Path(shutil.copytree(tiny_model, tmp_path_factory.mktemp("fuzz") / "whole"))
    (directory / "special_tokens_map.json").write_text(json.dumps({"bos_token": "<|endoftext|>"}))
    (directory / "added_tokens.json").write_text(json.dumps({"<|endoftext|>": 0}))
    from safetensors import safe_open

    with safe_open(directory / "model.safetensors", framework="numpy") as opened:
        shard = dict.fromkeys(opened.keys(), "model-1.safetensors")
    (directory / "model.safetensors").rename(directory / "model-1.safetensors")
    index = {"metadata": {"total_size": 1}, "weight_map": shard}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    return directory


def plan(directory: Path) -> str | None:
    """What *plan* says of a model directory; None where nothing is wrong."""
    base = BaseModelConfig(source=str(directory))
    try:
        check_fit(look_into(base, Path("unused")), TrainingConfig(base=base, seq_len=64), {})
    except BatonError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named_with_the_remedy(name: str, whole: Path, tmp_path: Path) -> None:
    assert plan(whole) is None
    directory = Path(shutil.copytree(whole, tmp_path / "damaged"))
    accepted = []
    for damage, change in DAMAGES.items():
        (directory / name).write_bytes(change((whole / name).read_bytes()))
        told = plan(directory)
        if told is None:
            accepted.append(damage)
        else:
            assert name in told and "Remedy: " in told and "\n" not in told, (damage, told)
    (directory / name).unlink()
    (directory / name).mkdir()
    told = plan(directory)
    assert told and name.removesuffix(".index.json") in told and "Remedy: " in told
    # What leaves a file whole: settings that are unset, or that transformers does not look at.
    harmless = {"nulls", "negative", "lists", "other types"}
    assert set(accepted) <= harmless, accepted
