"""Whatever lies in a directory: each bad thing is a clear error or a counted rejection, and the good rows are all there."""

import json
import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl.config import SourceConfig
from etl.read.check import check_source
from handoff.errors import SourceError
from tests.etl.corpus_run import NO_HELD_OUT, ended, nothing_published, planned, prose, rows, run, snapshot


def test_records_of_every_bad_kind_are_counted(spark: Any, tmp_path: Path) -> None:
    good = [{"id": f"good{i}", "text": prose(i)} for i in range(3)]
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnop", k=5)) for _ in range(100_000)]
    long_line = {"id": "long", "text": " ".join(words)}  # 0.6 MB
    lines = [
        *(json.dumps(record) for record in (*good, long_line)),
        json.dumps(good[0]),  # there twice, id and all
        json.dumps({"id": "good1", "text": prose(9)}),  # an id of another text: both stay, told apart by their text
        json.dumps({"id": "number", "text": 5}),
        json.dumps({"id": "object", "text": {"a": 1}}),
        '{"id": "missing"}',
        '{"id": "null", "text": null}',
        '{"text": "no id here"}',
        '{"id": "cut", "text": "half a rec',
        "[1, 2]",
        "",
        json.dumps({"id": "nul", "text": f"\0{prose(10)}\0"}),
    ]
    bad_bytes = b'{"id": "bytes", "text": "\xff\xfe' + prose(11).replace("\n", " ").encode() + b'"}\n'
    with pa.CompressedOutputStream(str(tmp_path / "a.jsonl.zst"), "zstd") as packed:
        packed.write("\n".join(lines[:4]).encode() + b"\n")
    (tmp_path / "b.jsonl").write_bytes("\n".join(lines[4:]).encode() + b"\n" + bad_bytes)
    (tmp_path / "empty.jsonl").touch()
    made = snapshot(*run(tmp_path, f"{tmp_path}/*.jsonl*", source={"id_column": "id"}, split=NO_HELD_OUT))
    kept = rows(made)
    assert {r["doc_id"] for r in kept} == {"good0", "good1", "good2", "long", "nul", "bytes"}
    assert sum("\ufffd" in r["text"] for r in kept) == 1 and made.manifest.facts["raw"]["replaced_bytes"] == 2
    assert len({r["row_id"] for r in kept}) == len(kept)
    per_text = len([r for r in kept if r["doc_id"] == "good0"])
    assert made.manifest.dropped == {
        "exact_duplicate": per_text,
        "malformed_record": 2,  # cut short, no object
        "text_is_no_string": 2,  # a number, an object
        "no_text": 2,
        "no_id": 1,
    }
    assert made.manifest.facts["documents"] == 15
    assert not any("\0" in r["text"] for r in kept)
    parts = sorted((r for r in kept if r["doc_id"] == "long"), key=lambda r: r["position"])
    assert " ".join(r["text"] for r in parts) == long_line["text"]


@pytest.mark.faults  # a Spark of its own, with the memory that the stage has
def test_a_line_of_50_mb_is_cut_like_any_other(tmp_path: Path) -> None:
    """More than a partition has, more than Spark's reader of JSON takes by itself, and no place to cut but blanks."""
    letters = np.random.default_rng(0).integers(ord("a"), ord("z") + 1, 50_000_000, dtype=np.uint8)
    letters[6::7] = ord(" ")
    long = letters.tobytes().decode().rstrip()
    records = [{"id": "small", "text": prose(0)}, {"id": "long", "text": long}, {"id": "last", "text": prose(1)}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    source = {"id_column": "id"}
    directory = planned(tmp_path, f"{tmp_path}/*.jsonl", source=source, split=NO_HELD_OUT, passage_chars=5000)
    done = ended("etl.job", directory.uri)
    assert done.returncode == 0, done.stdout
    made = directory.artifact("corpus", digests=True)
    kept = sorted(rows(made), key=lambda r: (r["doc_id"], r["position"]))
    assert [r["text"] for r in kept if r["doc_id"] != "long"] == [prose(1), prose(0)]
    found = " ".join(r["text"] for r in kept if r["doc_id"] == "long")
    assert found == long and made.manifest.dropped == {}
    assert len({r["position"] >> 20 for r in kept}) == 6  # parts of 8 MiB


def test_nothing_but_personal_data_and_nothing_but_one_record(spark: Any, tmp_path: Path) -> None:
    line = json.dumps({"text": "Write to jane.doe@example.com or call +1 212-555-0123. " * 8})
    (tmp_path / "a.jsonl").write_text(f"{line}\n" * 40)
    made = snapshot(*run(tmp_path, str(tmp_path / "a.jsonl"), split=NO_HELD_OUT))
    (row,) = rows(made)
    assert row["text"] == ("Write to <EMAIL> or call <PHONE>. " * 8).rstrip()
    assert made.manifest.dropped == {"exact_duplicate": 39} and made.manifest.facts["placeholders"]["email"] == 40 * 8


def test_csv_with_line_ends_quotation_marks_and_short_records(spark: Any, tmp_path: Path) -> None:
    text = prose(1)
    quoted = '"' + text.replace("1.0", '1.0 ""he said""') + '"'
    (tmp_path / "a.csv").write_text(f"n,text,id\n1,{quoted},a\n2,,b\n3\n", newline="")
    (tmp_path / "b.csv").write_text(f'id,text\ncaf\u00e9,"{prose(2)}"\n', newline="")
    made = snapshot(*run(tmp_path, f"{tmp_path}/*.csv", source={"id_column": "id"}, split=NO_HELD_OUT))
    kept = rows(made)
    assert {r["doc_id"] for r in kept} == {"a", "caf\u00e9"}
    assert any('1.0 "he said" ' in r["text"] for r in kept)
    assert sum(made.manifest.dropped.values()) == 2 and made.manifest.facts["documents"] == 4


def test_beyond_a_limit_of_lost_bytes_the_stage_fails(
    spark: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One stray quotation mark in 40 records; what is published already is judged by the limit too."""
    caplog.set_level(logging.INFO, "baton")
    lines = [f'{n},"{prose(n)}"' for n in range(40)]
    lines[9] = '9,"The baker shut the door and said nothing ' + "x" * 1500
    (tmp_path / "a.csv").write_text("id,text\n" + "\n".join(lines) + "\n", newline="")
    told = (
        r"2\.\d % of a source's raw bytes could not be read, more than corpus\.max_lost_share \(1 %\): .*a\.csv "
        rf"\({len(lines[9]) + 1:,} bytes, first a\.csv: line \d+, byte [\d,]+: ',' expected after '\"'\)\. Remedy: "
    )
    with pytest.raises(SourceError, match=told):
        run(tmp_path, f"{tmp_path}/a.csv", source={"id_column": "id"}, split=NO_HELD_OUT)
    assert nothing_published(tmp_path)
    again = {"source": {"id_column": "id"}, "split": NO_HELD_OUT, "max_lost_share": 0.05}
    made = snapshot(*run(tmp_path / "again", f"{tmp_path}/a.csv", **again))
    assert {r["doc_id"] for r in rows(made)} == {str(n) for n in range(40)} - {"9"}
    raw, size = made.manifest.facts["raw"], (tmp_path / "a.csv").stat().st_size
    assert raw["lost_bytes"] == len(lines[9]) + 1 and raw["lost_share"] == raw["lost_bytes"] / size
    card = json.loads(Path(f"{made.data}/card.json").read_text())
    assert next(iter(card)) == "raw" and made.manifest.dropped == {"malformed_record": 1}
    assert f"{len(lines[9]) + 1:,} of {size:,} raw bytes could not be read: 2." in caplog.text
    (tmp_path / "again/run").rename(tmp_path / "again/before")
    with pytest.raises(SourceError, match="max_lost_share"):
        run(tmp_path / "again", f"{tmp_path}/a.csv", **{**again, "max_lost_share": 0.01})


def test_markdown_and_html_give_their_text(spark: Any, tmp_path: Path) -> None:
    for name, text in (
        ("a.md", f"# *Head*\n\n{prose(1)}"),
        ("b.html", f"<nav>menu</nav><p>{prose(2)}</p>"),
        ("c.htm", ""),
    ):
        (tmp_path / name).write_text(text)
    made = snapshot(*run(tmp_path, str(tmp_path), source={"exclude": ["*.json"]}, split=NO_HELD_OUT))
    texts = {r["doc_id"]: r["text"] for r in rows(made) if r["position"] == 0}
    assert texts["a.md"].startswith("Head\n\n1.0 ") and texts["b.html"].startswith("2.0 ")
    assert made.manifest.dropped == {"no_text": 1}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.csv": b"text,text\nx,1\n"}, "two columns are named 'text'"),
        ({"a.csv": b"body,id\nx,1\n"}, r"no column 'text', but body, id"),
        ({"a.html": b"<p>\xff\xfe\xff\xfe\xff\xfe\xff\xfe</p>"}, r"a\.html is not utf-8 text"),
        ({"a.txt": b"\x7fELF\x02\x01\x01\x00\x00"}, r"a\.txt is binary"),
        ({"a.jsonl.zst": b"no zstd"}, r"a\.jsonl\.zst cannot be read"),
    ],
)
def test_files_that_are_refused_before_spark_starts(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    (tmp_path / "in").mkdir()
    for name, data in files.items():
        (tmp_path / "in" / name).write_bytes(data)
    with pytest.raises(SourceError, match=message):
        check_source(SourceConfig(uri=str(tmp_path / "in")), tmp_path)


def test_parquet_schemas_may_drift_in_what_is_not_read(spark: Any, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [prose(1)], "n": [1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"n": ["one"], "text": pa.array([prose(2)], pa.large_string())}), tmp_path / "b.parquet")
    made = snapshot(*run(tmp_path, f"{tmp_path}/*.parquet", split=NO_HELD_OUT))
    assert {r["text"][:3] for r in rows(made) if r["position"] == 0} == {"1.0", "2.0"}
    pq.write_table(pa.table({"text": [5]}), tmp_path / "c.parquet")
    with pytest.raises(SourceError, match=r"c\.parquet: column 'text' is int64, not a string"):
        run(tmp_path / "again", f"{tmp_path}/*.parquet", split=NO_HELD_OUT)
