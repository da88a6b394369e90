"""vLLM in its own environment: the token ids and scores of the transformers engine, and what is said without one."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from handoff.errors import ConfigError
from handoff.home import PROJECT
from handoff.publish import staging
from handoff.store import Store
from handoff.tokenizer import ModelTokenizer
from inference.config import InferenceConfig
from inference.engines.load import load_engine
from inference.engines.vllm import VARIABLE, cache_gib
from inference.job import main_stage
from tests.inference.support import make_run
from tests.inference.test_engines import ending_tokenizer, prompts

ASKED = ["Shall I compare thee", "Rough winds do", "And summer's lease hath all too short", "Thy eternal summer"]


def config(**values: Any) -> InferenceConfig:
    return InferenceConfig(**({"max_new_tokens": 6, "temperature": 0, "logprobs": True} | values))


def test_a_missing_environment_is_an_error_that_names_the_make_target(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "no" / "python"))
    with pytest.raises(ConfigError, match=r"no environment at .*/no/python\. Remedy: `make vllm-env`"):
        load_engine(config(engine="vllm"), str(tiny_model), ModelTokenizer.of_directory(tiny_model))


def test_the_cache_on_a_cpu_holds_the_token_budget() -> None:
    llama = {"hidden_size": 2048, "num_hidden_layers": 22, "num_attention_heads": 16, "vocab_size": 32000}
    assert cache_gib(llama, 8192) == 3  # 22 layers x 2 x 2048 x 4 bytes x 8192 tokens = 2.75 GiB
    assert cache_gib({}, 8192) == 4


@pytest.fixture(scope="module")
def model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the tiny model with heads of 32, the least that vLLM's attention on a CPU has."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    directory = tmp_path_factory.mktemp("heads-of-32")
    torch.manual_seed(0)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=384, hidden_size=128, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=512, bos_token_id=0, eos_token_id=0, initializer_range=0.2,
        )
    ).save_pretrained(directory)  # fmt: skip
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (directory / name).write_bytes((tiny_model / name).read_bytes())
    return directory


@pytest.fixture(scope="module")
def environment() -> None:
    """The environment, made if it is not there (3 GB)."""
    subprocess.run(["make", "vllm-env"], cwd=PROJECT, check=True, timeout=600)


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_answers_scores_and_ends_are_those_of_the_transformers_engine(environment: None, model: Path) -> None:
    asked, seeds, tokenizer = prompts(8), list(range(8)), ending_tokenizer(model)
    whole = load_engine(config(), str(model), tokenizer)
    expected = [a[0] for a in whole.generate(asked, seeds)]
    assert {a.finish_reason for a in expected} == {"stop", "length"}
    vllm = load_engine(config(engine="vllm"), str(model), tokenizer)
    try:
        assert vllm.batches([3, 1, 2]) == [[0, 1, 2]]
        found = [a[0] for a in vllm.generate(asked, seeds)]
        assert [(a.token_ids, a.finish_reason) for a in found] == [(a.token_ids, a.finish_reason) for a in expected]
        assert [a.logprobs for a in found] == [pytest.approx(a.logprobs, abs=1e-3) for a in expected]
        completions = [a.token_ids for a in expected]
        scores = whole.score(asked, completions)
        assert vllm.score(asked, completions) == [pytest.approx(s, abs=1e-3) for s in scores]
        with pytest.raises(RuntimeError, match="vLLM: "):
            vllm.generate([[10**6]], [0])  # no such token
        assert vllm.generate(asked[:1], [0])[0][0].token_ids == expected[0].token_ids
    finally:
        vllm.close()


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("window", [None, 8], ids=["whole attention", "window of 8"])
def test_a_row_alone_is_the_row_in_a_batch_and_transformers_row(
    environment: None, model: Path, tmp_path: Path, window: int | None
) -> None:
    """Prompts of mixed lengths, with a common beginning that vLLM's cache shares, and beyond the window of a model that has one."""
    import torch
    from transformers import AutoModelForCausalLM, MistralConfig, MistralForCausalLM

    directory = model
    if window:
        directory = tmp_path / "windowed"
        shutil.copytree(model, directory)
        settings = json.loads((model / "config.json").read_text())
        sizes = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                 "num_key_value_heads", "max_position_embeddings", "initializer_range", "bos_token_id", "eos_token_id")  # fmt: skip
        torch.manual_seed(1)
        MistralForCausalLM(
            MistralConfig(**{name: settings[name] for name in sizes}, sliding_window=window)
        ).save_pretrained(directory)
    tokenizer = ModelTokenizer.of_directory(directory)
    asked = [list(range(5, 5 + length)) for length in (3, 7, 12, 20)]
    plain = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    expected = []
    for ids in asked:
        row = list(ids)
        for _ in range(6):
            with torch.inference_mode():
                row.append(int(plain(torch.tensor([row]), use_cache=False).logits[0, -1].argmax()))
        expected.append(row[len(ids) :])
    vllm = load_engine(config(engine="vllm"), str(directory), tokenizer)
    try:
        together = [a[0].token_ids for a in vllm.generate(asked, [0] * 4)]
        alone = [vllm.generate([ids], [0])[0][0].token_ids for ids in asked]
    finally:
        vllm.close()
    assert all(together) and all(alone)
    for found in (together, alone):
        assert [list(ids) for ids in found] == [row[: len(ids)] for row, ids in zip(expected, found, strict=True)]


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_samples_and_stop_strings(environment: None, model: Path) -> None:
    asked, tokenizer = prompts(3), ModelTokenizer.of_directory(model)
    greedy = load_engine(config(), str(model), tokenizer).generate(asked[:1], [0])[0][0]
    text = tokenizer.completion(asked[0], greedy.token_ids)
    stop = text[len(text) // 2 :][:3]
    sampled = load_engine(config(engine="vllm", temperature=1.0, n=3, stop=("never said",)), str(model), tokenizer)
    try:
        first = sampled.generate(asked, [0, 1, 2])
        assert all(len({tuple(a.token_ids) for a in answers}) == 3 for answers in first)
        again = sampled.generate(asked[1:], [1, 2])
        assert [[a.token_ids for a in answers] for answers in again] == [
            [a.token_ids for a in answers] for answers in first[1:]
        ], "an answer follows from its prompt and seed, not from the batch"
    finally:
        sampled.close()
    stopping = load_engine(config(engine="vllm", stop=(stop,)), str(model), tokenizer)
    try:
        (answer,) = stopping.generate(asked[:1], [0])[0]
    finally:
        stopping.close()
    assert answer.finish_reason == "stop" and tokenizer.completion(asked[0], answer.token_ids).count(stop) == 1


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_the_predict_stage_answers_with_either_engine_alike(
    environment: None, model: Path, ray_cluster: None, store: Store, tmp_path: Path
) -> None:
    with staging(store, "model", {"source": "heads-of-32"}, []) as place:
        shutil.copytree(model, place.uri(), dirs_exist_ok=True)
        tuned = place.publish()
    file = tmp_path / "asked.jsonl"
    file.write_text("".join(json.dumps({"id": str(i), "prompt": p}) + "\n" for i, p in enumerate(ASKED)))
    made = {}
    for engine in ("transformers", "vllm"):
        asked = config(engine=engine, prompts=str(file), baseline_prompts=0, logprobs=False)
        run = make_run(tmp_path / engine, store, tuned, asked)
        with run.stage("predict") as record:
            main_stage(run, record)
        made[engine] = [row for f in run.artifact("predict").files() for row in pq.read_table(f).to_pylist()]
        assert not record.reused, "engines are different work"
    texts = {engine: [(row["id"], row["completion"]) for row in rows] for engine, rows in made.items()}
    assert len(texts["vllm"]) == len(ASKED) and all(text for _, text in texts["vllm"])
    assert texts["vllm"] == texts["transformers"]
