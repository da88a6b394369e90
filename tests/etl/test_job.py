"""The corpus stage as a user runs it: raw files in, a verified snapshot out, and one line on what is wrong."""

import gzip
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl.config import CorpusConfig, SourceConfig
from etl.job import prepare
from etl.read import documents
from etl.read.source import resolved
from handoff.errors import BatonError, ConfigError, SourceError
from handoff.facts import CorpusFacts
from handoff.run_dir import RunDir
from handoff.verify import verify_chain
from tests.etl.corpus_run import NO_HELD_OUT, nothing_published, prose, rows, run, snapshot


@pytest.fixture
def plays(tmp_path: Path) -> Path:
    """Ten texts, two of them with a passage that a third has too, and one empty file."""
    root = tmp_path / "plays"
    root.mkdir()
    for number in range(10):
        (root / f"play{number}.txt").write_text(prose(number), encoding="utf-8")
    (root / "copy.txt").write_text(prose(3))
    (root / "empty.txt").touch()
    return root


def test_texts_become_a_snapshot_that_verifies_and_is_reused(spark: Any, plays: Path, tmp_path: Path) -> None:
    split = {**NO_HELD_OUT, "test_documents": ["play1.txt"], "validation_documents": ["play2*"]}
    record, directory = run(tmp_path, f"{plays}/*.txt", split=split, layout={"row_group_mib": 0.0625})
    made = snapshot(record, directory)
    assert {r["doc_id"] for r in rows(made, "test")} == {"play1.txt"}
    assert {r["doc_id"] for r in rows(made, "validation")} == {"play2.txt"}
    assert {r["doc_id"] for r in rows(made, "train")} == {"copy.txt", *(f"play{i}.txt" for i in (0, *range(4, 10)))}
    everything = rows(made)
    assert len({r["row_id"] for r in everything}) == len(everything) == sum(made.manifest.rows.values())
    assert max(len(r["text"]) for r in everything) <= 500
    assert made.manifest.dropped == {
        "exact_duplicate": len([r for r in everything if r["doc_id"] == "copy.txt"]),
        "no_text": 1,
    }
    facts = made.manifest.facts
    assert set(facts) == set(CorpusFacts.model_fields), "a fact that is declared and never told"
    assert (facts["documents"], facts["documents_dropped"]) == (12, 1)
    assert facts["passages"] == len(everything) + made.manifest.dropped["exact_duplicate"]
    assert facts["text_bytes"] == sum(len(r["text"].encode()) for r in everything)
    assert facts["examples"][0]["reason"] == "exact_duplicate" and facts["examples"][0]["text"]
    links = verify_chain(directory.store, made.id)
    assert [link.problems for link in links] == [[], []] and links[1].id.startswith("raw-")
    card = json.loads(Path(f"{made.data}/card.json").read_text())
    assert card["rows"] == made.manifest.rows and card["dropped"] == made.manifest.dropped
    assert sum(card["lengths"].values()) == len(everything) == sum(made.manifest.rows.values())
    assert card["clusters"]["2"] == made.manifest.dropped["exact_duplicate"]
    again, _ = run(tmp_path, f"{plays}/*.txt", split=split, layout={"row_group_mib": 0.0625})
    assert (again.artifact, again.reused, again.headline) == (record.artifact, True, record.headline)


def test_reading_cleaning_and_judging_is_one_stage_and_python_only_reads_and_repairs_mojibake(
    spark: Any, plays: Path, tmp_path: Path
) -> None:
    config = CorpusConfig(source=SourceConfig(uri=f"{plays}/*.txt"))
    with resolved(config.source, tmp_path) as source:
        plan = prepare(spark, [source], config)._jdf.queryExecution().executedPlan().toString()
    assert len(re.findall(r"^.*- ArrowEvalPython", plan, re.MULTILINE)) == 1, plan
    python = re.findall("Python|Arrow|Exchange|Sort|Window", plan.replace("ArrowEvalPython", ""))
    assert "Project" in plan and len(re.findall(r"^.*MapInArrow", plan, re.MULTILINE)) == 1, plan
    assert set(python) <= {"Arrow"}, plan


def test_rejects_are_kept_with_their_reasons_when_asked(spark: Any, plays: Path, tmp_path: Path) -> None:
    (plays / "private.txt").write_text(f"Write to me@example.com. {prose(11)}")
    made = snapshot(*run(tmp_path, f"{plays}/*.txt", split=NO_HELD_OUT, keep_rejects=True))
    packed = Path(made.data).glob("rejects/*.json.gz")
    rejected = [json.loads(line) for f in packed for line in gzip.decompress(f.read_bytes()).splitlines()]
    found: dict[str, int] = {}
    for row in rejected:
        found[row["reason"]] = found.get(row["reason"], 0) + 1
    assert found == made.manifest.dropped and found["exact_duplicate"] > 1
    assert {r["doc_id"] for r in rejected if r["reason"] == "exact_duplicate"} == {"play3.txt"}
    assert made.manifest.facts["placeholders"]["email"] == 1
    texts = [r["text"] for r in rows(made)]
    assert not any("me@example.com" in text for text in texts) and any("<EMAIL>" in text for text in texts)


@pytest.mark.faults
def test_rows_order_splits_and_digests_do_not_depend_on_cores_partitions_or_file_order(
    spark: Any, plays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two cores and few partitions, the same with many partitions and the files turned round, and one core alone."""
    corpus = {"split": {"validation_fraction": 0.3, "test_fraction": 0.2}, "keep_rejects": True}
    few = snapshot(*run(tmp_path / "few", f"{plays}/*.txt", **corpus))
    alone = RunDir(str(tmp_path / "alone" / "run"))
    alone.create(str(tmp_path / "alone" / "artifacts"), RunDir(str(tmp_path / "few" / "run")).config)
    ended = subprocess.run(  # a JVM that sees one processor: local[*] is local[1] there
        ["taskset", "-c", str(min(os.sched_getaffinity(0))), sys.executable, "-m", "etl.job", alone.uri],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "on local[*], 1 cores" in ended.stdout
    monkeypatch.setattr("etl.job.shuffle_partitions", lambda cores, raw_bytes: 7)
    tasks = documents.tasks_of
    monkeypatch.setattr(documents, "tasks_of", lambda sources, cores: [t[::-1] for t in tasks(sources, 7)][::-1])
    many = snapshot(*run(tmp_path / "many", f"{plays}/*.txt", **corpus))
    record = alone.record("corpus")
    assert record
    for other in (many, snapshot(record, alone)):
        assert other.id == few.id and other.manifest.facts == few.manifest.facts
        assert other.manifest.dropped == few.manifest.dropped
        assert all(rows(other, name) == rows(few, name) for name in ("train", "validation", "test"))
    assert set(few.manifest.facts["content_digests"]) == {"train", "validation", "test"}


def test_jsonl_counts_what_it_cannot_use(spark: Any, tmp_path: Path) -> None:
    records = [json.dumps({"url": f"u{i}", "body": prose(i)}) for i in range(4)]
    bad = [
        '{"url": "u8", "body": "cut sho',
        '{"url": "u9"}',
        '{"url": "u10", "body": " "}',
        json.dumps({"body": prose(5)}),
    ]
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress("\n".join(records[:2]).encode()))
    (tmp_path / "b.jsonl").write_text("\n".join([*records[2:], *bad]))
    source = {"text_column": "body", "id_column": "url"}
    made = snapshot(*run(tmp_path, f"{tmp_path}/*.jsonl*", source=source, split=NO_HELD_OUT))
    assert {r["doc_id"] for r in rows(made)} == {"u0", "u1", "u2", "u3"}
    assert made.manifest.dropped == {"no_text": 2, "malformed_record": 1, "no_id": 1}
    assert (made.manifest.facts["documents"], made.manifest.facts["documents_dropped"]) == (8, 4)


def test_parquet_with_numbered_documents(spark: Any, tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": [7, 8], "text": [prose(7), prose(8)]}), tmp_path / "a b[1].parquet")
    source = {"id_column": "n"}
    made = snapshot(*run(tmp_path, str(tmp_path / "a b[1].parquet"), source=source, split=NO_HELD_OUT))
    assert {r["doc_id"] for r in rows(made)} == {"7", "8"}


def test_a_configured_encoding_is_decoded(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "caf\u00e9 1.txt").write_bytes(("\u201ccaf\u00e9\u201d " + prose(1)).encode("cp1252"))
    made = snapshot(*run(tmp_path, f"{tmp_path}/*.txt", source={"encoding": "cp1252"}, split=NO_HELD_OUT))
    first = next(r for r in rows(made) if r["position"] == 0)
    assert first["doc_id"] == "caf\u00e9 1.txt" and first["text"].startswith("\u201ccaf\u00e9\u201d 1.0")


def test_another_encoding_deep_in_a_file_is_named_and_nothing_is_published(
    spark: Any, plays: Path, tmp_path: Path
) -> None:
    (plays / "late.txt").write_bytes(b"word " * 20_000 + b"\xff" * 8)
    with pytest.raises(SourceError, match=r"late\.txt is not utf-8 text: byte 0xff near offset 100,000"):
        run(tmp_path, f"{plays}/*.txt")
    assert nothing_published(tmp_path)


def test_a_gzip_that_ends_early_is_named_and_nothing_is_published(spark: Any, tmp_path: Path) -> None:
    noise = random.Random(0)
    lines = "\n".join(json.dumps({"text": f"{noise.getrandbits(4000):x}"}) for _ in range(400))
    packed = gzip.compress(lines.encode())
    (tmp_path / "cut.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(SourceError, match=r"cut\.jsonl\.gz cannot be read \(Compressed file ended before.*Remedy"):
        run(tmp_path, f"{tmp_path}/*.jsonl.gz")
    assert nothing_published(tmp_path)


def test_a_file_of_records_without_one_text_is_named(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "good.jsonl").write_text(json.dumps({"text": prose(1)}))
    (tmp_path / "useless.jsonl").write_text('{"text": null}\n{"body": "x"}\n')
    with pytest.raises(SourceError, match=r"no record has a text in .*useless\.jsonl \(2 records\)"):
        run(tmp_path, f"{tmp_path}/*.jsonl", split=NO_HELD_OUT)


@pytest.mark.parametrize(
    ("corpus", "error", "message"),
    [
        ({"quality": {"min_words": 500}}, SourceError, r"nothing is left of 12 documents \(too_few_words: \d+.*Remedy"),
        ({"split": {**NO_HELD_OUT, "test_documents": ["hamlet*"]}}, ConfigError, "no document's id matches 'hamlet"),
        ({"split": {"group_pattern": "(?P<n>play)"}}, ConfigError, r"group_pattern"),
    ],
)
def test_an_outcome_nobody_can_train_on(
    spark: Any, plays: Path, tmp_path: Path, corpus: dict[str, Any], error: type[BatonError], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(tmp_path, f"{plays}/*.txt", **corpus)
    assert nothing_published(tmp_path)


@pytest.mark.parametrize("module", [["-m", "etl.job"], [str(Path(__file__).parents[2] / "etl" / "job.py")]])
def test_the_command_ends_with_2_and_one_line_before_spark_starts(tmp_path: Path, module: list[str]) -> None:
    directory = RunDir(str(tmp_path / "run"))
    directory.create(str(tmp_path / "artifacts"), {"corpus": {"source": {"uri": f"{tmp_path}/none/*.txt"}}})
    done = subprocess.run([sys.executable, *module, directory.uri], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout.splitlines()[-1].startswith(f"ERROR corpus: {tmp_path}/none/*.txt matches no file")
    record = directory.record("corpus")
    assert record and record.status == "failed"
