"""Which tokens a text, a prompt and a pair become, and which end a text: the same in training and in inference."""

import json
from pathlib import Path
from typing import Any

import pytest

from handoff.tokenizer import ModelTokenizer
from tests.tokenizers import TOKENIZERS, appending, digits, metaspace

END = 1


def made(tokenizer: Any, directory: Path, **files: dict[str, Any]) -> ModelTokenizer:
    """As read from a model's directory with these settings in ``<name>.json``."""
    settings = {"tokenizer_config": {"eos_token": "</s>"}, "config": {"eos_token_id": END}} | files
    for name, values in settings.items():
        (directory / f"{name}.json").write_text(json.dumps(values))
    tokenizer.save(str(directory / "tokenizer.json"))
    return ModelTokenizer.of_directory(directory)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_pair_begins_with_the_tokens_of_its_prompt_and_reads_as_one_text(name: str, tmp_path: Path) -> None:
    tokenizer = made(TOKENIZERS[name](), tmp_path)
    prompts, completions = ["12+13=", "7+5=", "Q: 1", "2", ""], ["25", "12", "2 A", "3", "5"]
    given = tokenizer.prompts(prompts)
    for (ids, count), prompt, completion, alone in zip(
        tokenizer.pairs(prompts, completions, end=True), prompts, completions, given, strict=True
    ):
        assert ids[:count] == alone and ids[-1] == END
        assert tokenizer.completion(ids[:count], ids[count:-1]) == completion, prompt


def test_a_completion_has_no_space_that_its_text_has_not(tmp_path: Path) -> None:
    raw = metaspace()
    tokenizer = made(raw, tmp_path)
    ((ids, count),) = tokenizer.pairs(["2+3="], ["5"], end=False)
    assert [raw.id_to_token(i) for i in ids] == ["▁2", "+", "3", "=", "5"] and count == 4
    assert raw.encode("5").tokens == ["▁5"], "by itself the tokenizer puts one there"


def test_a_token_that_would_span_the_border_is_not_learnt(tmp_path: Path) -> None:
    raw = digits()
    tokenizer = made(raw, tmp_path)
    assert raw.encode("1+12").tokens == ["1", "+", "12"]
    ((ids, count),) = tokenizer.pairs(["1+1"], ["2"], end=False)
    assert [raw.id_to_token(i) for i in ids] == ["1", "+", "1", "2"] and count == 3
    ((ids, count),) = made(metaspace(), tmp_path).pairs(["1+1"], ["2"], end=False)
    assert [raw.id_to_token(i) for i in ids[1:]] == ["+", "1", "2"], "without a space before the 2 either"


def test_a_prompt_never_ends_with_a_token_that_ends_a_text(tmp_path: Path) -> None:
    raw = appending()
    tokenizer = made(raw, tmp_path)
    assert raw.encode("7=").ids[-1] == END
    (prompt,), (text,) = tokenizer.prompts(["7="]), tokenizer.texts(["7="], end=True)
    assert [raw.id_to_token(i) for i in prompt] == ["<s>", "7", "="]
    assert text == [*prompt, END], "and a text ends with one"


def test_special_tokens_stay_in_a_completion_and_only_stop_tokens_go(tmp_path: Path) -> None:
    raw = digits()
    tokenizer = made(raw, tmp_path)
    ((ids, count),) = tokenizer.pairs(["2+3="], ["<ans>5</ans>"], end=True)
    assert [raw.id_to_token(i) for i in ids[count:]] == ["<ans>", "5", "</ans>", "</s>"]
    assert tokenizer.completion(ids[:count], tokenizer.until_stop(ids[count:])) == "<ans>5</ans>"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, (1,)),
        ({"config": {"eos_token_id": 2}}, (1, 2)),
        ({"config": {"eos_token_id": [2, 1]}}, (1, 2)),
        ({"generation_config": {"eos_token_id": [2, 0]}}, (1, 2, 0)),
        ({"tokenizer_config": {"eos_token": {"content": "<|im_end|>"}}}, (2, 1)),
        ({"tokenizer_config": {}, "special_tokens_map": {"eos_token": "<|im_end|>"}}, (2, 1)),
        ({"tokenizer_config": {}}, (1,)),
        # LlamaConfig's default is 2; here a word has that number: it must not end answers in their middle.
        ({"config": {"eos_token_id": 7}}, (1,)),
        ({"config": {"eos_token_id": None}}, (1,)),
    ],
)  # fmt: skip
def test_there_is_one_list_of_stop_tokens_whose_first_is_taught(
    files: dict[str, Any], expected: tuple[int, ...], tmp_path: Path
) -> None:
    tokenizer = made(digits(), tmp_path, **files)
    assert tokenizer.stop_ids == expected and tokenizer.end_id == expected[0]
    assert tokenizer.texts(["7"], end=True)[0][-1] == expected[0]
    assert tokenizer.until_stop([9, *expected[::-1], 9]) == [9]


@pytest.mark.parametrize("adds", [True, False, None])
@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_text_begins_as_transformers_begins_it(name: str, adds: bool | None, tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    settings = {"eos_token": "</s>", "bos_token": "<s>", "tokenizer_class": "PreTrainedTokenizerFast"}
    settings |= {} if adds is None else {"add_bos_token": adds}
    tokenizer = made(TOKENIZERS[name](), tmp_path, tokenizer_config=settings)
    served = PreTrainedTokenizerFast.from_pretrained(tmp_path)("2+3")["input_ids"]
    assert tokenizer.prompts(["2+3"]) == [[i for i in served if i != END]]
