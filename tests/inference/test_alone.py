"""A row's answer is that of the row alone, in models for which what engines usually do with batches is wrong."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from bench.model_families import build
from engines import alone
from engines.alone import Limits, edges_of
from engines.likelihood import scoring_limits, token_logprobs
from handoff.tokenizer import ModelTokenizer
from handoff.working import Working
from inference.config import InferenceConfig
from inference.engines.transformers import TransformersEngine
from inference.gather import Tally
from inference.generator import Generator
from inference.outcome import count_facts, metrics
from inference.pipeline import Task
from inference.prompt_rows import PromptRows
from inference.shards import Answers, Shard
from inference.summary import Summary
from inference.text_stages import ModelReference, finish
from inference.watch import Watch
from tests.inference.support import prompt_table
from tests.tokenizers import digits, write_tokenizer

NOT_AT_ALL = {"together", "padding", "leaving", "prefix"}
LENGTHS = (3, 7, 12, 20, 20, 41)
# What each family is not put through, and why it would come out otherwise.
FAMILIES = {
    "llama": set(),
    "recurrent_gemma": {"padding"},  # padding goes through its recurrence
    "rwkv": NOT_AT_ALL,  # its state of several rows goes wrong from the second token on
    "bart": {"padding"},  # it counts padding as positions, and so do the next four
    "marian": {"padding"},
    "pegasus": {"padding"},
    "trocr": {"padding"},
    "plbart": {"padding"},
    "minimax": set(),
    "deepseek_v4": {"padding"},  # it compresses keys by their place
    "gpt_neo": {"prefix"},  # its window counts the padding between a prefix and the rest
    "gemma2": set(),
    "gemma3_text": set(),
    "mistral": set(),
    "lfm2": set(),
    "jamba": set(),
}


def engine(directory: Path, **values: Any) -> TransformersEngine:
    config = InferenceConfig(**{"temperature": 0, "max_prompt_tokens": 50, "max_new_tokens": 12, **values})
    return TransformersEngine(config, str(directory), ModelTokenizer.of_directory(directory))


def prompts(lengths: tuple[int, ...] = LENGTHS, common: int = 0) -> list[list[int]]:
    first = [5 + n % 50 for n in range(common)]
    return [first + [5 + (7 * n + 11 * row + n * n) % 55 for n in range(size)] for row, size in enumerate(lengths)]


def plain(model: Any, prompt: list[int], tokens: int) -> list[int]:
    """Greedy tokens of a prompt alone, from calls of the model with nothing but ids."""
    import torch

    ids = list(prompt)
    with torch.inference_mode():
        for _ in range(tokens):
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_are_the_models_own_whatever_is_beside_them(family: str, tmp_path: Path) -> None:
    one = engine(build(family, tmp_path))
    assert set(one.limits.longest) == FAMILIES[family] and not any(one.limits.longest.values())
    for asked in (prompts(), prompts((3, 5, 9), common=18)):
        together = [answers[0].token_ids for answers in one.generate(asked, range(len(asked)))]
        for prompt, found in zip(asked, together, strict=True):
            own = plain(one.model, prompt, 12)
            assert found == one._tokenizer.until_stop(own), f"{family}, prompt of {len(prompt)} tokens"


def scaled(directory: Path, family: str, positions: int, **rope: Any) -> Path:
    """A small model whose rotary positions are scaled past 32 tokens."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = digits()
    torch.manual_seed(0)
    settings = AutoConfig.for_model(
        family, vocab_size=tokenizer.get_vocab_size(), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, bos_token_id=0, eos_token_id=1, pad_token_id=0, sliding_window=None,
        max_position_embeddings=positions, original_max_position_embeddings=32,
        rope_parameters={"rope_theta": 10000.0, "factor": 4.0, **rope},
    )  # fmt: skip
    AutoModelForCausalLM.from_config(settings).save_pretrained(directory)
    return write_tokenizer(directory, tokenizer)


def long_rope(directory: Path) -> Path:
    factors = {"short_factor": [1.0] * 8, "long_factor": [4.0] * 8}
    return scaled(directory, "phi3", 128, rope_type="longrope", original_max_position_embeddings=32, **factors)


def test_a_long_prompt_does_not_switch_the_positions_of_those_beside_it(tmp_path: Path) -> None:
    one = engine(long_rope(tmp_path))
    assert edges_of(one.model.config, 62) == {32: True} and edges_of(one.model.config, 32) == {}
    assert dict(one.limits.longest) == {"padding": 32, "prefix": 32}, "short rows go on together"
    lengths = (3, 7, 12, 20, 20, 25, 41, 41, 50)
    batches = one.batches(lengths)
    assert sorted(sorted(lengths[n] for n in batch) for batch in batches) == [[3, 7, 12, 20, 20], [25], [41, 41], [50]]
    asked = prompts(lengths)
    together = [answers[0].token_ids for answers in one.generate(asked, range(len(asked)))]
    assert together == [one._tokenizer.until_stop(plain(one.model, prompt, 12)) for prompt in asked]
    assert one.limits.told()["padding"] == (
        "past 32 tokens: the longest row of a batch switches the positions of all; "
        "only rows of equal length are computed together"
    )


def test_a_length_that_is_too_dear_to_try_is_answered_row_by_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alone, "AFFORDED", {"cpu": 1e6})
    one = engine(long_rope(tmp_path))
    assert dict(one.limits.longest) == dict.fromkeys(NOT_AT_ALL, 32)
    assert [len(batch) for batch in one.batches((41, 41, 7, 7))] == [1, 1, 2]
    assert "too many to be tried; rows are computed one by one" in one.limits.told()["together"]


def test_a_score_does_not_depend_on_what_was_scored_before_or_beside(tmp_path: Path) -> None:
    """Rotary positions that grow with the longest row (``dynamic``) stay grown in transformers."""
    from transformers import AutoModelForCausalLM

    directory = scaled(tmp_path, "llama", 32, rope_type="dynamic")
    model: Any = AutoModelForCausalLM.from_pretrained(directory).eval()
    rows = prompts((40, 90, 20, 45))
    limits = scoring_limits(model, 0, 100)
    assert dict(limits.longest) == {"padding": 32, "prefix": 32}
    fresh: Any = AutoModelForCausalLM.from_pretrained(directory).eval()
    expected = [own_logprobs(fresh, row) for row in rows[:1]]
    found = token_logprobs(model, rows, 0, limits=limits)
    assert found[0] == pytest.approx(expected[0], abs=1e-5)
    assert token_logprobs(model, rows[:1], 0)[0] == pytest.approx(expected[0], abs=1e-5)
    assert token_logprobs(model, rows, 0)[0] != pytest.approx(expected[0], abs=1e-5), "without the limits"


def own_logprobs(model: Any, row: list[int]) -> list[float]:
    import torch

    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([row])).logits[0, :-1].log_softmax(-1)
    values: list[float] = logits.gather(1, torch.tensor(row[1:])[:, None])[:, 0].tolist()
    return values


def test_several_samples_of_a_model_that_takes_no_batch_are_those_alone(tmp_path: Path) -> None:
    one = engine(build("rwkv", tmp_path), temperature=1.0, n=3)
    asked = prompts((5, 5, 9))
    together = one.generate(asked, [0, 1, 2])
    assert together == [one.generate([prompt], [seed])[0] for seed, prompt in enumerate(asked)]
    assert len({tuple(answer.token_ids) for answers in together for answer in answers}) == 9


def test_in_16_bits_rounding_is_no_reason_to_leave_a_trick_out(tmp_path: Path) -> None:
    import torch

    for family, expected in (
        ("llama", set()),
        ("olmoe", set()),
        ("bart", {"padding"}),
        ("rwkv", NOT_AT_ALL),
        ("recurrent_gemma", {"padding"}),
        ("gpt_neo", {"prefix"}),
    ):
        one = engine(build(family, tmp_path / family), dtype="bfloat16")
        assert set(one.limits.longest) == expected, family
        assert {weights.dtype for weights in one.model.parameters()} == {torch.bfloat16}, "the copy has gone"


def test_a_model_that_fails_alone_says_so(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(build("llama", tmp_path))
    with torch.no_grad():
        model.lm_head.weight[3] = float("nan")
    model.save_pretrained(tmp_path)
    told = engine(tmp_path).limits.told()
    assert told["together"].startswith("left out: the model fails on a row alone (its logits are not numbers)")


def test_rows_are_parted_by_what_a_model_allows() -> None:
    lengths = [4, 9, 4, 9, 40, 40]
    assert Limits().parts(lengths) == [[0, 1, 2, 3, 4, 5]]
    assert Limits({"padding": 0}).parts(lengths) == [[0, 2], [1, 3], [4, 5]]
    assert Limits({"padding": 9}).parts(lengths) == [[0, 1, 2, 3], [4, 5]]
    assert Limits({"together": 9, "padding": 9}).parts(lengths) == [[0, 1, 2, 3], [4], [5]]


def test_what_is_left_out_is_told_in_the_log_the_record_and_the_report(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = engine(build("bart", tmp_path))
    config = InferenceConfig(temperature=0, max_new_tokens=12)
    table = prompt_table(*"abcd").append_column("prompt_ids", pa.array(prompts((3, 7, 7, 12)), pa.list_(pa.int32())))
    table = table.append_column("error", pa.nulls(4, pa.string())).append_column(
        "prompt_tokens", pa.array([3, 7, 7, 12])
    )
    stage = Generator.__new__(Generator)
    stage._engine, stage._config, stage._answers = one, config, None
    answered = stage.answer(table.append_column("rendered", table["prompt"]))
    rows = finish(answered, one._tokenizer)
    summary = Summary.of(Shard(0, 4), answered, rows)
    assert summary.limits == one.limits.told() and (summary.batches, summary.fewest_batches) == (3, 1)
    answers = Answers(Working(str(tmp_path / "store"), "predictions-1"), "answers")
    with caplog.at_level("WARNING"):
        Watch("tuned model", config, 8, answers)(summary)
    assert "tuned model: the engine's padding left out: a row that is padded comes out otherwise" in caplog.text
    told = Task(PromptRows("", "", 4, 4), ModelReference("", "model-1"), None, config, answers)
    facts = count_facts(Tally(rows=4, summaries=[summary]), told, None)
    assert metrics(facts)["limits"] == one.limits.told() and metrics(facts)["batches"] == 3
