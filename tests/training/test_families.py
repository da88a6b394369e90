"""Looking into a model raises no false alarm, and sees each encoder: every family of transformers, one by one."""

from pathlib import Path

import pytest

from handoff.errors import SourceError
from tests.training.families import build, families, sees_what_follows
from training.base.model_check import compare, make_model
from training.base.weight_files import headers, weight_names

# Composite models whose text part has a configuration that AutoModelForCausalLM does not take back.
PARTS = {"emu3", "mllama"}
COMMON = ["llama", "gpt2", "gpt_neox", "gptj", "mixtral", "qwen2", "qwen3_moe", "gemma3_text", "bart", "mamba", "falcon",
          "phi", "opt", "bloom", "bert", "roberta", "xlm"]  # fmt: skip


def look(kind: str, directory: Path) -> str:
    """``accepted``, ``encoder``, ``refused: …``, or ``not built``."""
    try:
        model = build(kind)
        model.save_pretrained(directory / kind)
    except Exception:  # a configuration that cannot be made of names alone
        return "not built"
    future = sees_what_follows(model)
    try:
        made = make_model(directory / kind)
        compare(made, headers([directory / kind / name for name in weight_names(directory / kind)]), kind)
    except SourceError as error:
        if "is an encoder" in str(error):
            return "encoder" if future is not False else f"refused: {error}"
        return f"refused: {error}"
    if future:
        return "accepted, and sees what follows"
    return "accepted" if future is False else "accepted, not run"


def test_common_families(tmp_path: Path) -> None:
    found = {kind: look(kind, tmp_path) for kind in COMMON}
    encoders = {"bert", "roberta", "xlm"}
    assert found == {kind: "encoder" if kind in encoders else "accepted" for kind in COMMON}


@pytest.mark.faults  # not a fault, but as long: two minutes
def test_every_family(tmp_path: Path) -> None:
    found = {kind: look(kind, tmp_path) for kind in families()}
    by_result: dict[str, list[str]] = {}
    for kind, result in found.items():
        by_result.setdefault(result, []).append(kind)
    for result, kinds in by_result.items():
        print(f"{result}: {len(kinds)}: {', '.join(kinds)}")
    good = {"accepted", "accepted, not run", "encoder", "not built"}
    assert {k for k, r in found.items() if r not in good} <= PARTS
    assert len(by_result["accepted"]) > 120 and len(by_result["encoder"]) >= 18 and len(by_result["not built"]) < 30
