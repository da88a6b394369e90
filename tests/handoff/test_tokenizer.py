"""Which tokens a text, a prompt and a pair become, and which end a text: the same in training and in inference."""

import json
from pathlib import Path
from typing import Any

import pytest

from handoff.errors import ConfigError
from handoff.tokenizer import ModelTokenizer
from tests.tokenizers import TOKENIZERS, appending, digits, llama2, metaspace

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


@pytest.mark.parametrize(
    ("prompt", "completion"), [("1+1=<ans>", "2"), ("1+1=<ans>", " 2"), ("1+1=<ans> ", "2"), ("1+1=", "<ans>2</ans>")]
)
def test_no_space_is_put_after_a_special_token(prompt: str, completion: str, tmp_path: Path) -> None:
    tokenizer = made(llama2(), tmp_path)
    ((ids, count),) = tokenizer.pairs([prompt], [completion], end=True)
    assert ids[:count] == tokenizer.prompts([prompt])[0]
    assert tokenizer.completion(ids[:count], ids[count:-1]) == completion


def test_completions_that_are_tokenised_by_themselves_or_changed_are_counted_with_the_reason(tmp_path: Path) -> None:
    tokenizer = made(llama2(), tmp_path)
    found = tokenizer.borders(["1+1=<ans>", "1+1=<ans>", "7=", "1+1", "2="], ["2", "3", "7", "2", "é"])
    assert {reason.split("(")[0].strip(): n for reason, n in found.items()} == {
        "are tokenised by themselves, as the tokenizer would put a space after a special token": 2,
        "are tokenised by themselves, as a token would span the end of the prompt": 1,
        "do not come back as they were given": 1,
    }


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


# -- token facts that stand in files beside tokenizer.json


def without_added_tokens(tokenizer: Any) -> Any:
    """The tokenizer as an older one: its special tokens are words of the vocabulary, and other files name them."""
    from tokenizers import Tokenizer

    return Tokenizer.from_str(json.dumps(json.loads(tokenizer.to_str()) | {"added_tokens": []}))


DECODER = {"1": {"content": "</s>", "special": True}, "2": {"content": "<|im_end|>", "special": True}}


@pytest.mark.parametrize(
    "files",
    [
        {"tokenizer_config": {"eos_token": "<|im_end|>", "added_tokens_decoder": DECODER}},
        {"tokenizer_config": {}, "special_tokens_map": {"eos_token": "<|im_end|>"}, "added_tokens": {"</s>": 1}},
        {"tokenizer_config": {"eos_token": "</s>"}, "special_tokens_map": {"eos_token": {"content": "<|im_end|>", "lstrip": False}, "pad_token": "</s>"}},
        {"tokenizer_config": {"eos_token": "<|im_end|>", "extra_special_tokens": ["</s>"]}},
        # The embedding has no room for this token, so no text has it.
        {"tokenizer_config": {"eos_token": "<|im_end|>", "pad_token": "<pad>", "additional_special_tokens": ["</s>"]}, "config": {"vocab_size": "size"}},
    ],
)  # fmt: skip
def test_tokens_that_other_files_name_are_those_of_transformers(files: dict[str, Any], tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    raw = without_added_tokens(digits())
    settings = {"tokenizer_config": {}, "config": {"eos_token_id": END}} | files
    if "vocab_size" in settings["config"]:
        settings["config"] = {"vocab_size": raw.get_vocab_size()}
    tokenizer = made(raw, tmp_path, **settings)
    theirs = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    text = "1+1=</s>2<|im_end|>3"
    assert tokenizer.texts([text], end=False) == [theirs(text)["input_ids"]] != [raw.encode(text).ids]
    assert tokenizer.end_id == theirs.eos_token_id == 2


def test_a_token_that_gets_another_id_than_its_file_says_is_refused(tmp_path: Path) -> None:
    decoder = {"500": {"content": "<new>", "special": True}}
    with pytest.raises(
        ConfigError, match=r"tokenizer_config.json: the token '<new>' has the id 500, and .* it gets \d+\. Remedy"
    ):
        made(digits(), tmp_path, tokenizer_config={"eos_token": "</s>", "added_tokens_decoder": decoder})


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("config", {"eos_token_id": -1}, "config.json: eos_token_id is -1. Remedy: give the id"),
        ("generation_config", {"eos_token_id": [1, "x"]}, r"generation_config.json: eos_token_id is \[1, \"x\"\]"),
        ("generation_config", {"eos_token_id": True}, "generation_config.json: eos_token_id is true"),
        ("tokenizer_config", {"eos_token": 7}, "tokenizer_config.json: eos_token is 7. Remedy: give the text"),
        ("tokenizer_config", {"eos_token": {"lstrip": False}}, "tokenizer_config.json: eos_token is {"),
        ("tokenizer_config", {"added_tokens_decoder": {"one": {"content": "a"}}}, r"added_tokens_decoder\['one'\] is"),
        ("tokenizer_config", {"added_tokens_decoder": []}, r"tokenizer_config.json: added_tokens_decoder is \[\]"),
        ("config", {"vocab_size": "many"}, 'config.json: vocab_size is "many"'),
        ("config", {"eos_token_id": 99, "vocab_size": 90}, "ends a text with the token 99 .* vocabulary of 90"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_named_with_its_file(
    name: str, values: dict[str, Any], message: str, tmp_path: Path
) -> None:
    own = {"tokenizer_config": {}} if name == "config" else {}
    with pytest.raises(ConfigError, match=message):
        made(digits(), tmp_path, **own | {name: values})
