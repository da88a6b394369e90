"""Scoring without a cluster: precision, and figures that are no numbers."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from evaluation.config import EvaluationConfig
from evaluation.measure import split_result
from evaluation.passages import Encoded
from evaluation.pool import Completer, Contender, Scorer, batches
from evaluation.scoring import passage_nll
from handoff.artifact import Artifact
from handoff.errors import ConfigError
from handoff.publish import staging
from handoff.store import Store

PASSAGES = [Encoded([9, 8, 7], 1, 9), Encoded([5, 17, 3, 90, 41, 7, 22], 1, 20), Encoded([40, 41, 42, 43], 2, 12)]


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
    """The negative log-likelihoods of PASSAGES, in their order."""
    config = EvaluationConfig()
    (work,) = batches({"tuned": {"test": PASSAGES}}, config)
    assert work["number"].to_pylist() == [1, 2, 0], "the longest first"
    made: pa.Table = Scorer({"tuned": Contender.of(model)}, config)(work)
    return [row["nll"] for row in sorted(made.to_pylist(), key=lambda row: row["number"])]


def test_fp16_weights_are_scored_in_a_precision_that_holds_them(tiny_model: Path, store: Store, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    half = with_large_activations(tiny_model, tmp_path / "half")
    inside: Any = AutoModelForCausalLM.from_pretrained(half, dtype="auto")
    assert torch.isnan(inside(torch.tensor([PASSAGES[1].ids])).logits).any(), "the fault that this is about"
    figures = scored(published(store, half, "half"))
    whole = AutoModelForCausalLM.from_pretrained(half, dtype=torch.float32)
    expected = [nll for nll, _ in passage_nll(whole, [p.ids for p in PASSAGES], 0, [p.given for p in PASSAGES])]
    assert figures == pytest.approx(expected, rel=1e-5) and all(math.isfinite(nll) for nll in figures)


def test_a_completion_is_what_the_model_itself_generates(tiny_model: Path, store: Store) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = Contender.of(published(store, tiny_model, "tiny"))
    config = EvaluationConfig(max_new_tokens=5)
    work = pa.table({"model": ["tuned"], "number": [0], "prompt": ["Shall I compare"]})
    (row,) = Completer({"tuned": model}, config)(work).to_pylist()
    (ids,) = model.tokenizer.prompts(["Shall I compare"])
    plain: Any = AutoModelForCausalLM.from_pretrained(tiny_model)
    for _ in range(5):
        ids = [*ids, int(plain(torch.tensor([ids])).logits[0, -1].argmax())]
    (prompt,) = model.tokenizer.prompts(["Shall I compare"])
    assert row["completion"] == model.tokenizer.completion(prompt, model.tokenizer.until_stop(ids[len(prompt) :]))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_figure_that_is_no_number_is_an_error_that_names_the_model(bad: float) -> None:
    two = [Encoded([1, 2, 3], 1, 4)] * 2
    with pytest.raises(ConfigError, match=r"perplexity of the tuned model on test is not a number.* Remedy"):
        split_result("test", {"base": ([(4.0, 2)] * 2, two), "tuned": ([(4.0, 2), (bad, 2)], two)})
    found = split_result("test", {"base": ([(4.0, 2)] * 2, two), "tuned": ([(2.0, 2)] * 2, two)})
    assert found.ratio == pytest.approx(math.exp(-1))
    assert found.tuned.bits_per_byte == pytest.approx(2 / math.log(2) / 4)
