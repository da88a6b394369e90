"""What the model is asked: every fault of a prompt file is named, and the default prompts are the same ones each time."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from handoff.artifact import Artifact
from handoff.errors import ConfigError, SourceError
from handoff.store import Store
from inference.config import InferenceConfig
from inference.prompts import MODERN, begins_like_text, check_prompts, load_prompts, opening_of, spread
from tests.support import publish_corpus


def jsonl(path: Path, *rows: Any) -> str:
    path.write_text("".join(f"{r if isinstance(r, str) else json.dumps(r)}\n" for r in rows))
    return str(path)


def from_file(uri: str) -> pa.Table:
    return load_prompts(InferenceConfig(prompts=uri), None)


def test_a_jsonl_file_gives_its_prompts_in_order(tmp_path: Path) -> None:
    uri = jsonl(tmp_path / "p.jsonl", {"id": 7, "prompt": "To be", "more": 1}, "", {"id": "b", "prompt": None})
    assert from_file(uri).to_pylist() == [
        {"id": "7", "prompt": "To be", "source": "p.jsonl"},
        {"id": "b", "prompt": None, "source": "p.jsonl"},  # answered by a row with an error, not lost
    ]


def test_a_parquet_file_may_have_integer_ids(tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": ["a", "b"], "id": [2, 1], "x": [0.1, 0.2]}), tmp_path / "p.parquet")
    assert from_file(str(tmp_path / "p.parquet"))["id"].to_pylist() == ["2", "1"]


def test_a_parquet_file_whose_text_is_no_utf8_is_named_with_the_row(tmp_path: Path) -> None:
    texts = pa.array([b"fine", b"half \xff"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"prompt": texts, "id": [1, 2]}), tmp_path / "p.parquet")
    with pytest.raises(SourceError, match=r"p\.parquet, row 2: not UTF-8\. Remedy: "):
        from_file(str(tmp_path / "p.parquet"))


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        (["not json"], "line 1: not JSON"),
        (["[" * 100_000], "line 1: not JSON"),
        (['{"id": ' + "7" * 5000 + ', "prompt": "a"}'], "line 1: not JSON"),
        ([{"id": 1, "prompt": "a"}, [1]], "line 2: not an object with id and prompt"),
        ([{"id": 1}], "line 1: not an object with id and prompt"),
        ([{"id": 1, "prompt": "a"}, {"id": "1", "prompt": "b"}], "line 2: id '1' was there before"),
        ([{"id": None, "prompt": "a"}], "line 1: id is None"),
        ([{"id": True, "prompt": "a"}], "line 1: id is True"),
        ([{"id": 1, "prompt": 5}], "line 1: prompt is 5, not a string"),
        (
            [{"id": 1, "prompt": "a"}, {"id": 2, "prompt": "b\ud83d"}],
            r"line 2: prompt holds \ud83d at character 2, half of",
        ),
        ([{"id": "\udc00", "prompt": "a"}], r"line 1: id holds \udc00 at character 1, half of a surrogate pair"),
        ([], "no prompts in the file"),
    ],
)
def test_each_fault_of_a_jsonl_file_is_named_in_one_line(tmp_path: Path, rows: list[Any], cause: str) -> None:
    uri = jsonl(tmp_path / "p.jsonl", *rows)
    with pytest.raises(SourceError) as error:
        from_file(uri)
    message = str(error.value)
    assert message.startswith(f"prompts {uri}") and cause in message and "Remedy" in message and "\n" not in message


def test_a_file_that_is_missing_or_of_another_format_is_found_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 but no more")
    pq.write_table(pa.table({"id": ["a"], "text": ["b"]}), tmp_path / "other.parquet")
    (tmp_path / "binary.jsonl").write_bytes(b"\x80\x81\x82\n")
    for name, cause in {
        "none.jsonl": "there is no such file",
        "prompts.csv": "not a .jsonl or .parquet file",
        "torn.parquet": "cannot be read",
        "other.parquet": r"no column prompt \(it has id, text\)",
        "binary.jsonl": "line 1: not JSON",
    }.items():
        with pytest.raises(SourceError, match=cause) as error:
            check_prompts(InferenceConfig(prompts=str(tmp_path / name)))
        assert "\n" not in str(error.value)


def test_the_default_is_openings_of_test_passages_and_modern_english(tiny_corpus: Artifact) -> None:
    config = InferenceConfig(held_out_prompts=4, opening_words=6)
    table = load_prompts(config, tiny_corpus)
    assert table["source"].to_pylist() == ["held-out"] * 4 + ["modern"] * len(MODERN)
    assert table == load_prompts(config, tiny_corpus)
    assert len(set(table["id"].to_pylist())) == len(table)
    passages = [row for file in tiny_corpus.files("test") for row in pq.read_table(file).to_pylist()]
    texts = {f"held-out-{row['row_id']}": row["text"] for row in passages}
    for row in table.slice(0, 4).to_pylist():
        assert texts[row["id"]].startswith(row["prompt"]) and len(row["prompt"].split()) == 6


def test_passages_shorter_than_the_opening_give_no_prompt(store: Store, tmp_path: Path) -> None:
    corpus = publish_corpus(store, tmp_path / "raw.txt", {"train": 1, "test": 8})
    table = load_prompts(InferenceConfig(held_out_prompts=8, opening_words=17), corpus)
    assert 0 < table["source"].to_pylist().count("held-out") < 8


def test_openings_need_a_corpus() -> None:
    with pytest.raises(ConfigError, match=r"held_out_prompts.*Remedy"):
        load_prompts(InferenceConfig(held_out_prompts=1), None)
    assert len(load_prompts(InferenceConfig(held_out_prompts=0), None)) == len(MODERN)


def test_an_opening_keeps_its_line_ends_and_leaves_something_to_write() -> None:
    assert opening_of("To be,\nor not to be", 3) == "To be,\nor"
    assert opening_of("To be, or", 3) is None


@pytest.mark.parametrize(
    ("opening", "good"),
    [
        ("Who's there? Nay, answer me", True),
        ("ACT III\nSCENE I. A room", False),
        ("Enter Ghost.", False),
        ("and so he goes to heaven", False),
        ("HAMLET.\nWords, words", False),
        ("[Aside] A little more than kin", False),
    ],
)
def test_running_text_is_preferred_for_openings(opening: str, good: bool) -> None:
    assert begins_like_text(opening) is good


def test_baseline_prompts_are_spread_evenly() -> None:
    assert spread(3, 24) == [0, 8, 16] and spread(5, 3) == [0, 1, 2] and spread(0, 3) == []
