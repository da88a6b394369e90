"""What the model is asked: every fault of a prompt file is named, and the default prompts are the same ones each time."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from handoff.artifact import Artifact
from handoff.errors import ArtifactError, ConfigError, SourceError
from handoff.store import Store
from handoff.verify import verify_chain
from inference import prompt_rows, repeated_ids
from inference.config import InferenceConfig
from inference.openings import MODERN, begins_like_text, default_prompts, opening_of
from inference.prompt_rows import PromptRows
from inference.prompts import check_prompts, publish_prompts
from tests.support import publish_corpus


def jsonl(path: Path, *rows: Any) -> str:
    path.write_text("".join(f"{r if isinstance(r, str) else json.dumps(r)}\n" for r in rows))
    return str(path)


def published(store: Store, uri: str, **settings: Any) -> Artifact:
    return publish_prompts(store, InferenceConfig(prompts=uri, **settings), None)


def rows_of(artifact: Artifact) -> list[dict[str, Any]]:
    return [row for file in artifact.files() for row in pq.read_table(file).to_pylist()]


def test_a_jsonl_file_gives_its_prompts_in_order(store: Store, tmp_path: Path) -> None:
    uri = jsonl(tmp_path / "p.jsonl", {"id": 7, "prompt": "To be", "more": 1}, "", {"id": "b", "prompt": None})
    assert rows_of(published(store, uri)) == [
        {"position": 0, "id": "7", "prompt": "To be", "source": "p.jsonl"},
        {"position": 1, "id": "b", "prompt": None, "source": "p.jsonl"},  # answered by a row with an error, not lost
    ]


def test_a_parquet_file_may_have_integer_ids_and_other_names(store: Store, tmp_path: Path) -> None:
    pq.write_table(pa.table({"line": ["a", "b"], "n": [2, 1], "x": [0.1, 0.2]}), tmp_path / "p.parquet")
    made = published(store, str(tmp_path / "p.parquet"), id_column="n", prompt_column="line", carry=("x",))
    assert [(r["id"], r["prompt"], r["x"]) for r in rows_of(made)] == [("2", "a", 0.1), ("1", "b", 0.2)]


def test_a_directory_is_read_in_the_order_of_its_paths_and_found_again(store: Store, tmp_path: Path) -> None:
    (tmp_path / "in" / "b").mkdir(parents=True)
    jsonl(tmp_path / "in" / "b" / "2.jsonl", {"id": "y", "prompt": "2", "who": ["K"]})
    jsonl(tmp_path / "in" / "a.jsonl", {"id": "x", "prompt": "1", "who": "Kate"})
    made = published(store, str(tmp_path / "in"), template="{who}: {prompt}")
    assert [(r["id"], r["who"], r["source"]) for r in rows_of(made)] == [
        ("x", "Kate", "a.jsonl"),
        ("y", '["K"]', "2.jsonl"),
    ]
    assert published(store, str(tmp_path / "in"), template="{who}: {prompt}").id == made.id
    assert published(store, str(tmp_path / "in")).id != made.id
    assert all(not link.problems for link in verify_chain(store, made.id))


def test_a_split_of_a_corpus_gives_its_passages(store: Store, tiny_corpus: Artifact) -> None:
    made = published(store, tiny_corpus.directory, prompts_split="validation", carry=("doc_id",))
    rows = rows_of(made)
    assert len(rows) == 8 and made.manifest.parent("corpus") == tiny_corpus.id
    assert {r["id"].split("-")[0] for r in rows} == {"validation"} and {r["doc_id"] for r in rows} == {"validation-doc"}
    with pytest.raises(ArtifactError, match=r"split 'nope' has no rows"):
        check_prompts(InferenceConfig(prompts=tiny_corpus.directory, prompts_split="nope"))


def test_rows_are_found_by_arithmetic_over_row_groups_and_files(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_rows, "GROUP_ROWS", 4)
    monkeypatch.setattr(prompt_rows, "FILE_ROWS", 8)
    made = published(store, jsonl(tmp_path / "p.jsonl", *({"id": n, "prompt": f"line {n}"} for n in range(21))))
    assert [f.rows for f in made.manifest.files] == [8, 8, 5]
    assert all((f.row_groups or 0) <= 2 for f in made.manifest.files)
    every, some = PromptRows.of(made), PromptRows.of(made, 5)
    assert every.read(3, 18)["position"].to_pylist() == list(range(3, 18))
    assert some.read(0, 5)["position"].to_pylist() == [0, 4, 8, 12, 16]  # spread evenly, the first among them
    assert some.read(2, 4)["place"].to_pylist() == [2, 3] and [some.first_place(p) for p in (0, 1, 4, 17)] == [
        0,
        1,
        1,
        5,
    ]


def test_equal_hashes_of_other_ids_are_no_repeated_id(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeated_ids, "_hashed", lambda ids: np.zeros(len(ids), np.uint64))
    good = jsonl(tmp_path / "good.jsonl", {"id": "a", "prompt": "1"}, {"id": "b", "prompt": "2"})
    assert len(rows_of(published(store, good))) == 2
    with pytest.raises(SourceError, match=r"row 3: id 'a' was there before, in row 1\. Remedy"):
        published(store, jsonl(tmp_path / "bad.jsonl", *({"id": i, "prompt": "1"} for i in "aba")))


def test_a_parquet_file_whose_text_is_no_utf8_is_named_with_the_row(store: Store, tmp_path: Path) -> None:
    texts = pa.array([b"fine", b"half \xff"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"prompt": texts, "id": [1, 2]}), tmp_path / "p.parquet")
    with pytest.raises(SourceError, match=r"p\.parquet, row 2: not UTF-8\. Remedy: "):
        published(store, str(tmp_path / "p.parquet"))


@pytest.mark.parametrize(
    ("columns", "cause"),
    [
        ({"id": ["a", None], "prompt": ["x", "y"]}, "row 2: id is None"),
        ({"id": ["a", ""], "prompt": ["x", "y"]}, "row 2: id is ''"),
        ({"id": [0.5, 1.5], "prompt": ["x", "y"]}, "column id holds double, not strings or integers"),
        ({"id": ["a", "b"], "prompt": [1, 2]}, "column prompt holds int64, not strings"),
        ({"id": ["a", "a"], "prompt": ["x", "y"]}, "row 2: id 'a' was there before, in row 1"),
        ({"id": [], "prompt": []}, "no prompts in it"),
    ],
)
def test_each_fault_of_a_parquet_file_is_named(
    columns: dict[str, list[Any]], cause: str, store: Store, tmp_path: Path
) -> None:
    given = pa.table(columns) if columns["id"] else pa.table({n: pa.array([], pa.string()) for n in columns})
    pq.write_table(given, tmp_path / "p.parquet")
    with pytest.raises(SourceError) as error:
        published(store, str(tmp_path / "p.parquet"))
    assert cause in str(error.value) and "Remedy" in str(error.value)


def test_a_template_that_names_an_absent_column_is_refused_before_the_run(tmp_path: Path) -> None:
    config = InferenceConfig(template="{title}: {prompt}")
    with pytest.raises(ConfigError, match=r"names the column title, and the default prompts have none"):
        check_prompts(config)
    pq.write_table(pa.table({"id": ["a"], "prompt": ["b"]}), tmp_path / "p.parquet")
    for uri in (str(tmp_path / "p.parquet"), jsonl(tmp_path / "p.jsonl", {"id": 1, "prompt": "a"})):
        with pytest.raises(SourceError, match="title"):
            check_prompts(config.model_copy(update={"prompts": uri}))


def test_a_carried_column_may_not_have_the_name_of_one_of_the_predictions() -> None:
    with pytest.raises(ValueError, match="predictions have a column completion of their own"):
        InferenceConfig(carry=("completion",))


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        (["not json"], "line 1: not JSON"),
        (["[" * 100_000], "line 1: not JSON"),
        (['{"id": ' + "7" * 5000 + ', "prompt": "a"}'], "line 1: not JSON"),
        ([{"id": 1, "prompt": "a"}, [1]], "line 2: not an object with id and prompt"),
        ([{"id": 1}], "line 1: not an object with id and prompt"),
        ([{"id": 1, "prompt": "a"}, {"id": "1", "prompt": "b"}], "row 2: id '1' was there before, in row 1"),
        ([{"id": None, "prompt": "a"}], "line 1: id is None"),
        ([{"id": True, "prompt": "a"}], "line 1: id is True"),
        ([{"id": 1, "prompt": 5}], "line 1: prompt is 5, not a string"),
        (
            [{"id": 1, "prompt": "a"}, {"id": 2, "prompt": "b\ud83d"}],
            r"line 2: prompt holds \ud83d at character 2, half of",
        ),
        ([{"id": "\udc00", "prompt": "a"}], r"line 1: id holds \udc00 at character 1, half of a surrogate pair"),
        ([], "no prompts in it"),
    ],
)
def test_each_fault_of_a_jsonl_file_is_named_in_one_line(
    store: Store, tmp_path: Path, rows: list[Any], cause: str
) -> None:
    uri = jsonl(tmp_path / "p.jsonl", *rows)
    with pytest.raises(SourceError) as error:
        published(store, uri)
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
        "binary.jsonl": "line 1: byte 0x80 at 1 is not UTF-8",
    }.items():
        with pytest.raises(SourceError, match=cause) as error:
            check_prompts(InferenceConfig(prompts=str(tmp_path / name)))
        assert "\n" not in str(error.value)


def default_table(config: InferenceConfig, corpus: Artifact) -> pa.Table:
    columns = zip(*default_prompts(config, corpus), strict=True)
    return pa.table([list(column) for column in columns], names=["id", "prompt", "source"])


def test_the_default_is_openings_of_test_passages_and_modern_english(tiny_corpus: Artifact) -> None:
    config = InferenceConfig(held_out_prompts=4, opening_words=6)
    table = default_table(config, tiny_corpus)
    assert table["source"].to_pylist() == ["held-out"] * 4 + ["modern"] * len(MODERN)
    assert table == default_table(config, tiny_corpus)
    assert len(set(table["id"].to_pylist())) == len(table)
    passages = [row for file in tiny_corpus.files("test") for row in pq.read_table(file).to_pylist()]
    texts = {f"held-out-{row['row_id']}": row["text"] for row in passages}
    for row in table.slice(0, 4).to_pylist():
        assert texts[row["id"]].startswith(row["prompt"]) and len(row["prompt"].split()) == 6


def test_passages_shorter_than_the_opening_give_no_prompt(store: Store, tmp_path: Path) -> None:
    corpus = publish_corpus(store, tmp_path / "raw.txt", {"train": 1, "test": 8})
    table = default_table(InferenceConfig(held_out_prompts=8, opening_words=17), corpus)
    assert 0 < table["source"].to_pylist().count("held-out") < 8


def test_openings_need_a_corpus() -> None:
    with pytest.raises(ConfigError, match=r"held_out_prompts.*Remedy"):
        default_prompts(InferenceConfig(held_out_prompts=1), None)
    assert len(default_prompts(InferenceConfig(held_out_prompts=0), None)) == len(MODERN)


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


LINES = [{"id": "a", "prompt": "café"}, {"id": "b", "prompt": "naïve"}]


@pytest.mark.parametrize(
    ("encoding", "says"),
    [
        ("utf-16", "the file is UTF-16. .*iconv -f UTF-16 "),
        ("utf-32", "the file is UTF-32. .*iconv -f UTF-32 "),
        ("utf-16-le", "line 1: it has zero bytes, as UTF-16 does. .*iconv -f UTF-16LE "),
        ("latin-1", "line 1: byte 0xe9 at 27 is not UTF-8; the file may be Latin-1 or Windows-1252. .*iconv"),
    ],
)
def test_a_file_of_another_encoding_is_told_as_that(encoding: str, says: str, store: Store, tmp_path: Path) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in LINES)
    (tmp_path / "p.jsonl").write_bytes(text.encode(encoding))
    with pytest.raises(SourceError, match=says):
        published(store, str(tmp_path / "p.jsonl"))
    (tmp_path / "p.jsonl").write_bytes(text.encode("utf-8-sig"))  # with a byte order mark
    assert [row["prompt"] for row in rows_of(published(store, str(tmp_path / "p.jsonl")))] == ["café", "naïve"]


def test_a_further_column_of_several_types_is_told_and_views_are_read(store: Store, tmp_path: Path) -> None:
    for name, values in (("a", pa.array([1])), ("b", pa.array([{"x": 1}]))):
        pq.write_table(pa.table({"id": [name], "prompt": ["?"], "c": values}), tmp_path / f"{name}.parquet")
    with pytest.raises(SourceError, match="a further column has other types in other files"):
        published(store, str(tmp_path), carry=("c",))
    views = pa.table({"id": ["a", "b"], "prompt": ["?", "!"], "c": pa.array(["x", "y"], pa.string_view())})
    pq.write_table(views, tmp_path / "v.parquet")
    made = published(store, str(tmp_path / "v.parquet"), carry=("c",))
    assert PromptRows.of(made).read(1, 2)["c"].to_pylist() == ["y"]
