"""The transformers engine: answers and scores of a batch are those of each row alone."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from engines.alone import Limits
from engines.batching import by_budget, shared_prefix
from handoff.tokenizer import ModelTokenizer
from inference.config import InferenceConfig
from inference.engines.base import before_stop
from inference.engines.decoding import Writing
from inference.engines.load import load_engine
from inference.engines.probe import Forced
from inference.engines.transformers import SHORTEST_PREFIX, TransformersEngine

GREEDY = InferenceConfig(max_new_tokens=24, temperature=0)
CAUSAL = ["gpt2", "gptj", "bloom", "mpt", "mistral", "mamba", "gemma2"]  # learnt, rotary, ALiBi, window, recurrent


def engine(directory: Path, tokenizer: ModelTokenizer | None = None, **values: Any) -> TransformersEngine:
    config = GREEDY.model_copy(update=values)
    made = load_engine(config, str(directory), tokenizer or ModelTokenizer.of_directory(directory))
    assert isinstance(made, TransformersEngine)
    return made


def prompts(count: int, prefix: int = 0) -> list[list[int]]:
    """Random ids of 3 to 40 tokens, none of which ends a text, after ``prefix`` tokens in common."""
    draw = random.Random(0)
    common = [draw.randrange(1, 300) for _ in range(prefix)]
    return [common + [draw.randrange(1, 300) for _ in range(draw.randrange(3, 40))] for _ in range(count)]


def ending_tokenizer(directory: Path) -> ModelTokenizer:
    """One whose stop tokens are a fifth of the vocabulary, so that random answers end at different times."""
    found = ModelTokenizer.of_directory(directory)
    return ModelTokenizer(found.definition, tuple(range(0, 384, 5)))


def alone(one: TransformersEngine, asked: list[list[int]]) -> list[Any]:
    return [one.generate([prompt], [seed])[0] for seed, prompt in enumerate(asked)]


def test_a_batch_stays_within_its_budget_and_rows_are_of_like_length() -> None:
    lengths = [random.Random(1).randrange(1, 100) for _ in range(200)]
    batches = by_budget(lengths, 20, 1000, Limits())
    assert sorted(i for batch in batches for i in batch) == list(range(200))
    assert all(len(b) * (max(lengths[i] for i in b) + 20) <= 1000 for b in batches)
    in_turn = [lengths[i] for batch in batches for i in batch]
    assert in_turn == sorted(lengths, reverse=True)
    assert by_budget([5000, 3], 20, 1000, Limits()) == [[0], [1]]  # a row too long for the budget is still answered
    assert by_budget([], 20, 1000, Limits()) == []


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_answers_of_a_batch_are_those_of_each_row_alone(tiny_model: Path, temperature: float) -> None:
    asked = prompts(12)
    one = engine(tiny_model, ending_tokenizer(tiny_model), temperature=temperature, batch_tokens=300)
    batches = one.batches([len(p) for p in asked])
    assert len(batches) > 1 and max(map(len, batches)) > 1
    expected, found = alone(one, asked), {}
    for batch in batches:
        for i, answers in zip(batch, one.generate([asked[i] for i in batch], batch), strict=True):
            found[i] = answers
    assert [found[i] for i in range(12)] == expected
    ends = [answers[0].finish_reason for answers in expected]
    assert "stop" in ends and len({len(a[0].token_ids) for a in expected}) > 3, "rows left the batch at different times"
    assert not any(token % 5 == 0 for answers in expected for token in answers[0].token_ids)


def test_a_prefix_in_common_is_computed_once_and_changes_no_answer(tiny_model: Path) -> None:
    asked = prompts(8, prefix=30)
    assert shared_prefix(asked) == 30 and shared_prefix([[1, 2], [1, 2]]) == 1 and shared_prefix([[1], [1, 2]]) == 0
    one = engine(tiny_model)
    seen: list[tuple[int, ...]] = []
    one.model.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    together = one.generate(asked, list(range(8)))
    longest = max(map(len, asked))
    assert seen[:2] == [(1, 30), (8, longest - 30)], "the prefix once, then what follows it"
    assert together == alone(one, asked)


@pytest.mark.parametrize("family", CAUSAL)
def test_every_kind_of_cache_and_position_gives_the_answers_of_each_row_alone(
    family: str, tiny_model: Path, tmp_path: Path
) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    common = {"vocab_size": 384, "bos_token_id": 0, "eos_token_id": 0}
    sizes = {
        "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
        "gptj": {"n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4},
        "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
        "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4},
        "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
    }.get(
        family,
        {
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 16,
        },
    )  # fmt: skip
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **common, **sizes)).save_pretrained(tmp_path)
    one = engine(tmp_path, ending_tokenizer(tiny_model))
    asked = prompts(6, prefix=SHORTEST_PREFIX)
    assert one.generate(asked, list(range(6))) == alone(one, asked)


def test_several_answers_to_a_prompt_differ_and_come_back_in_any_batch(tiny_model: Path) -> None:
    asked = prompts(3)
    one = engine(tiny_model, temperature=1.0, n=3)
    found = one.generate(asked, [0, 1, 2])
    assert [len(answers) for answers in found] == [3, 3, 3]
    assert all(len({tuple(a.token_ids) for a in answers}) == 3 for answers in found)
    single = engine(tiny_model, temperature=1.0)
    assert [answers[0] for answers in found] == [answers[0] for answers in single.generate(asked, [0, 1, 2])]
    assert alone(one, asked) == found


def test_an_answers_logprobs_are_its_score(tiny_model: Path) -> None:
    asked = prompts(5)
    one = engine(tiny_model, temperature=1.0, logprobs=True)
    answers = [found[0] for found in one.generate(asked, list(range(5)))]
    scores = one.score(asked, [a.token_ids for a in answers])
    for answer, score in zip(answers, scores, strict=True):
        assert answer.logprobs == pytest.approx(score, abs=1e-4) and len(score) == len(answer.token_ids)
    assert one.score([asked[0]], [[]]) == [[]]
    assert one.score([asked[2]], [answers[2].token_ids])[0] == pytest.approx(scores[2], abs=1e-4)


def test_a_stop_string_ends_an_answer(tiny_model: Path) -> None:
    (asked,) = prompts(1)
    free = engine(tiny_model).generate([asked], [0])[0][0]
    tokenizer = ModelTokenizer.of_directory(tiny_model)
    text = tokenizer.completion(asked, free.token_ids)
    stop = text[len(text) // 2 :][:3]
    (answer,) = engine(tiny_model, stop=(stop, "never said")).generate([asked], [0])[0]
    made = tokenizer.completion(asked, answer.token_ids)
    assert answer.finish_reason == "stop" and len(answer.token_ids) < len(free.token_ids)
    assert text.startswith(made) and made.count(stop) == 1
    assert before_stop(made, (stop, "never said")) == text[: text.index(stop)]


@pytest.mark.parametrize("stop", ["\U0001f389\U0001f389\U0001f389\U0001f389", "안녕하세요 여러분", "thee", "\n\n"])
def test_a_stop_string_of_many_tokens_a_character_ends_an_answer_at_its_last_one(tiny_model: Path, stop: str) -> None:
    one = engine(tiny_model, stop=(stop,))
    tokenizer = ModelTokenizer.of_directory(tiny_model)
    (asked,) = prompts(1)
    (before, whole, after) = tokenizer.prompts(["so ", f"so {stop}", f"so {stop} and on"])
    assert stop in ("thee", "\n\n") or len(whole) - len(before) > len(stop) + 4, "more tokens than characters"
    answer = Writing(tokenizer.stop_ids, one._stop_test(asked))
    how = replace(one._sampling, max_new_tokens=len(after))
    one.decode([asked], [answer], Forced([after]), how, Limits())
    assert answer.reason == "stop" and stop in tokenizer.completion(asked, answer.ids)
    assert stop not in tokenizer.completion(asked, answer.ids[:-1]), "nothing was added to it"


def test_a_stop_text_of_no_characters_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least 1 character"):
        InferenceConfig(stop=("",))
