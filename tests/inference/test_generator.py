"""The model stage without a cluster: seeded, independent of the batch, faithful to the distribution, no lost rows."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from handoff import schema
from handoff.artifact import Artifact
from handoff.positions import positions_of
from handoff.publish import staging
from handoff.store import Store
from handoff.tokenizer import ModelTokenizer
from inference.config import InferenceConfig
from inference.engines.sampling import GumbelMax, Sampler, row_seed
from inference.generator import Generator
from inference.prompts import MODERN, PROMPTS
from inference.text_stages import ModelReference, finish, render, render_arguments

CONFIG = InferenceConfig(max_new_tokens=12, temperature=1.0, top_p=0.9)


@pytest.fixture
def model(store: Store, tiny_model: Path) -> ModelReference:
    with staging(store, "model", {"source": "tiny"}, []) as place:
        shutil.copytree(tiny_model, place.uri(), dirs_exist_ok=True)
        artifact: Artifact = place.publish()
    return ModelReference.of(artifact)


def prompts(*texts: str | None) -> pa.Table:
    return pa.table([[f"p{i}" for i in range(len(texts))], texts, ["test"] * len(texts)], schema=PROMPTS)


def tokenizer_of(model: ModelReference) -> ModelTokenizer:
    return ModelTokenizer.of_directory(model.directory())


def complete(model: ModelReference, table: pa.Table, config: InferenceConfig, rows: int) -> pa.Table:
    """The three stages over batches of ``rows``."""
    tokenizer = tokenizer_of(model)
    generator = Generator(model, tokenizer, config)
    settings = json.loads(Path(model.directory(), "config.json").read_text())
    arguments = render_arguments(tokenizer, config, positions_of(settings))
    batches = [render(table.slice(start, rows), **arguments) for start in range(0, len(table), rows)]
    return pa.concat_tables([finish(generator(batch), tokenizer, {}) for batch in batches])


def texts(table: pa.Table) -> dict[str, str]:
    return dict(zip(table["id"].to_pylist(), table["completion"].to_pylist(), strict=True))


def test_a_prompt_gets_the_same_text_in_any_batch_and_order(model: ModelReference) -> None:
    table = prompts(*MODERN[:7])  # of different lengths: batches of three are padded
    alone = texts(complete(model, table, CONFIG, 1))
    assert texts(complete(model, table, CONFIG, 3)) == alone
    assert texts(complete(model, table.take([6, 2, 4, 0, 1, 5, 3]), CONFIG, 7)) == alone


def test_the_seed_and_the_prompts_id_decide_the_sample(model: ModelReference) -> None:
    same = prompts("Shall I compare thee", "Shall I compare thee")
    first = texts(complete(model, same, CONFIG, 2))
    assert first["p0"] != first["p1"]  # one prompt under two ids: two samples
    assert texts(complete(model, same, CONFIG.model_copy(update={"seed": 1}), 2)) != first
    greedy = texts(complete(model, same, CONFIG.model_copy(update={"temperature": 0}), 2))
    assert greedy["p0"] == greedy["p1"]


def test_greedy_completion_is_what_the_model_itself_gives(model: ModelReference) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded: Any = AutoModelForCausalLM.from_pretrained(model.directory())
    tokenizer: Any = AutoTokenizer.from_pretrained(model.directory())
    expected = {}
    for number, prompt in enumerate(MODERN[:3]):
        inputs = tokenizer(prompt, return_tensors="pt")
        tokens = loaded.generate(**inputs, max_new_tokens=12, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        expected[f"p{number}"] = tokenizer.decode(tokens, skip_special_tokens=True)
    made = complete(model, prompts(*MODERN[:3]), CONFIG.model_copy(update={"temperature": 0}), 3)
    assert texts(made) == expected


def test_bad_prompts_become_rows_with_an_error(model: ModelReference) -> None:
    config = CONFIG.model_copy(update={"max_prompt_tokens": 20})
    table = prompts("Shall I", "", None, " \n", "thee " * 30)
    rows = complete(model, table, config, 2).to_pylist()
    assert [r["id"] for r in rows] == ["p0", "p1", "p2", "p3", "p4"]
    assert rows[0]["error"] is None and rows[0]["completion"] is not None and rows[0]["completion_tokens"] > 0
    assert {r["error"] for r in rows[1:4]} == {"the prompt is empty"}
    assert "tokens, the limit is 20 (max_prompt_tokens)" in rows[4]["error"] and rows[4]["prompt_tokens"] > 20
    assert all(r["completion"] is None and r["completion_tokens"] == 0 for r in rows[1:])


def test_prompt_and_completion_stay_within_the_models_positions(model: ModelReference) -> None:
    table = prompts("thee " * 120)
    config = CONFIG.model_copy(update={"max_new_tokens": 500})  # the tiny model has 512 positions
    (row,) = complete(model, table, config, 1).to_pylist()
    assert "the limit is 12 (the model's positions less max_new_tokens)" in row["error"]


def test_the_template_surrounds_the_prompt_braces_and_all(model: ModelReference) -> None:
    config = CONFIG.model_copy(update={"template": "Q: {prompt} {x}\nA:"})
    arguments = render_arguments(tokenizer_of(model), config, None)
    rendered = render(prompts("a {b} c"), **arguments)
    plain = render(prompts("Q: a {b} c {x}\nA:"), **render_arguments(tokenizer_of(model), CONFIG, None))
    assert rendered["prompt_ids"] == plain["prompt_ids"]


def test_rows_have_the_declared_schema(model: ModelReference) -> None:
    table = prompts("Shall I", "Rough winds")
    config = CONFIG.model_copy(update={"temperature": 0})
    generated = Generator(model, tokenizer_of(model), config)(
        render(table, **render_arguments(tokenizer_of(model), config, None))
    )
    finished = finish(generated, tokenizer_of(model), {"p1": "from the base"})
    assert finished.schema == schema.PREDICTIONS and finished["baseline"].to_pylist() == [None, "from the base"]


def test_gumbel_noise_samples_the_softmax_and_nothing_outside_the_nucleus() -> None:
    import torch

    draws = 20_000
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05])).expand(draws, 4)
    seeds = [row_seed(0, f"row {n}") for n in range(draws)]
    counts = torch.bincount(GumbelMax(seeds, logits.device)(logits).argmax(-1), minlength=4) / draws
    assert torch.allclose(counts, torch.tensor([0.5, 0.3, 0.15, 0.05]), atol=0.015)  # 4 standard errors

    nucleus = Sampler(temperature=1.0, top_p=0.75, seeds=seeds, device=logits.device)
    counts = torch.bincount(nucleus(logits), minlength=4) / draws
    assert torch.allclose(counts, torch.tensor([0.625, 0.375, 0.0, 0.0]), atol=0.015)
