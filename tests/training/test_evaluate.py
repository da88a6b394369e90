"""Scoring and comparing without a cluster: precision, and figures that are no numbers."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from handoff.artifact import Artifact
from handoff.errors import ConfigError
from handoff.publish import staging
from handoff.store import Store
from training.config import EvaluationConfig
from training.evaluate import MODELS, Scorer, batches, compare
from training.scoring import passage_nll

PASSAGES = [([5, 17, 3, 90, 41, 7, 22], 0), ([40, 41, 42, 43], 0), ([9, 8, 7], 1)]


def published(store: Store, directory: Path, name: str) -> Artifact:
    with staging(store, "model", {"name": name}, []) as place:
        shutil.copytree(directory, place.uri(), dirs_exist_ok=True)
        return place.publish()


def with_large_activations(tiny_model: Path, directory: Path) -> Path:
    """The tiny model in fp16, with activations inside that leave fp16's range."""
    import torch
    from transformers import AutoModelForCausalLM

    shutil.copytree(tiny_model, directory)
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_model)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.mlp.up_proj.weight.mul_(5e5)
    model.to(torch.float16).save_pretrained(directory)
    assert json.loads((directory / "config.json").read_text())["dtype"] == "float16"
    return directory


def scored(model: Artifact) -> list[float]:
    (work,) = (b for b in batches({"test": PASSAGES}, EvaluationConfig()) if b["model"][0].as_py() == "base")
    made: pa.Table = Scorer(dict.fromkeys(MODELS, model), 0, "cpu", 1024)(work)
    return made["nll"].to_pylist()


def test_fp16_weights_are_scored_in_a_precision_that_holds_them(tiny_model: Path, store: Store, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    half = with_large_activations(tiny_model, tmp_path / "half")
    inside: Any = AutoModelForCausalLM.from_pretrained(half, dtype="auto")
    assert torch.isnan(inside(torch.tensor([PASSAGES[0][0]])).logits).any(), "the fault that this is about"
    figures = scored(published(store, half, "half"))
    whole = AutoModelForCausalLM.from_pretrained(half, dtype=torch.float32)
    expected = [nll for nll, _ in passage_nll(whole, [ids for ids, _ in PASSAGES], 0, [n for _, n in PASSAGES])]
    assert figures == pytest.approx(expected, rel=1e-5) and all(math.isfinite(nll) for nll in figures)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_figure_that_is_no_number_is_an_error_that_names_the_model(bad: float) -> None:
    with pytest.raises(ConfigError, match=r"perplexity of the tuned model on test is not a number.* Remedy"):
        compare("test", {"base": [(4.0, 2)], "tuned": [(4.0, 2), (bad, 2)]})
    assert compare("test", {"base": [(4.0, 2)], "tuned": [(2.0, 2)]}).ratio == pytest.approx(math.exp(-1))
