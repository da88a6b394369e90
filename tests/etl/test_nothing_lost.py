"""The card and the log say what became of every character, byte and record, and the same rows come out on every Java."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from etl.java import _packaged, find_java_home, java_version
from etl.read import files
from etl.tally import BOILERPLATE, MARKUP, PERSONAL
from handoff.errors import SourceError
from handoff.verify import main, verify_chain
from tests.etl.corpus_run import NO_HELD_OUT, planned, prose, rows, run, snapshot
from tests.etl.privacy_cases import CASES


def test_every_character_between_raw_and_kept_is_accounted_for(
    spark: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "baton")
    page = f"<nav>menu</nav><p>{prose(1)} \u0007jane@example.com</p><script>x</script>"
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.html").write_text(page)
    (tmp_path / "in/b.html").write_bytes(f"<p>{prose(2)} caf".encode() + b"\xe9 <EMAIL></p><p>few words</p>")
    (tmp_path / "in/c.md").write_text("Few words.")
    (tmp_path / "in/.hidden.md").write_text("hidden")
    made = snapshot(*run(tmp_path, f"{tmp_path}/in", split=NO_HELD_OUT))
    facts, kept = made.manifest.facts, rows(made)
    chars, raw = facts["characters"], facts["raw"]
    sizes = sum(f.stat().st_size for f in (tmp_path / "in").glob("[abc].*"))
    assert chars["read"] == sizes and raw["unpacked_bytes"] == facts["raw_bytes"] == sizes  # each character is one byte
    assert chars["kept"] == sum(len(r["text"]) for r in kept)
    lost = ("dropped_documents", "dropped_passages", "between_passages")
    assert chars["kept"] + sum(chars["removed"].values()) + sum(chars[name] for name in lost) == chars["read"]
    assert chars["removed"][BOILERPLATE] == len("menu")
    assert chars["removed"][PERSONAL] == len("jane@example.com") - len("<EMAIL>")
    assert chars["removed"]["line ends, control characters and others that nobody sees"] == 1
    assert chars["removed"][MARKUP] > len("<nav></nav><p></p><script>x</script>")
    assert chars["dropped_passages"] == len("Few words.") and chars["between_passages"] >= 0
    assert facts["placeholders"]["email"] == 1, "the source has another one"
    assert (raw["replaced_bytes"], raw["replaced_files"], raw["records"], raw["unread_records"]) == (1, 1, 3, 0)
    assert facts["files_left_out"] == [".hidden.md"]
    card = json.loads(Path(f"{made.data}/card.json").read_text())
    assert card["characters"] == chars and card["raw"] == raw
    told = caplog.text
    share = 100 * facts["text_bytes"] / sizes
    for line in (
        "characters read",
        f"{facts['text_bytes']:,} bytes of text kept of {sizes:,} raw bytes: {share:.1f} %",
        "1 bytes in 1 files were not in their encoding: now U+FFFD",
        "1 files with hidden names are left out (.hidden.md)",
    ):
        assert line in told, line


def test_records_that_cannot_be_read_are_counted_beside_the_others(spark: Any, tmp_path: Path) -> None:
    good = [json.dumps({"text": prose(n)}) for n in range(4)]
    (tmp_path / "a.jsonl").write_text(good[0] + good[1] + "\n" + good[2] + "\nnot json\n" + good[3])
    made = snapshot(*run(tmp_path, f"{tmp_path}/a.jsonl", split=NO_HELD_OUT))
    raw = made.manifest.facts["raw"]
    assert (raw["records"], raw["unread_records"]) == (5, 1) and made.manifest.dropped == {"malformed_record": 1}
    assert made.manifest.facts["documents"] == 5 and len({r["doc_id"] for r in rows(made)}) == 4
    assert raw["unpacked_bytes"] == (tmp_path / "a.jsonl").stat().st_size


def test_many_small_encodings_are_found_together(spark: Any, tmp_path: Path) -> None:
    """No file has enough invalid bytes to tell, all of them together do."""
    (tmp_path / "in").mkdir()
    for number in range(5):
        (tmp_path / f"in/{number}.txt").write_bytes(f"\u201c{prose(number)}\u201d".encode("cp1252"))
    with pytest.raises(SourceError, match=r"3\.txt is not utf-8 text: byte 0x93 near offset 0.*cp1252"):
        run(tmp_path, f"{tmp_path}/in", split=NO_HELD_OUT)
    made = snapshot(*run(tmp_path, f"{tmp_path}/in", split=NO_HELD_OUT, source={"encoding": "iso-8859-1"}))
    assert sum(r["text"].count("\u201c") for r in rows(made)) == 5


def test_a_long_text_is_one_document_of_many_parts(spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n\n".join(prose(n) for n in range(80))
    (tmp_path / "long.txt").write_text(text)
    monkeypatch.setattr(files, "PART_BYTES", 30_000)
    monkeypatch.setattr(files, "WINDOW_BYTES", 5_000)
    made = snapshot(*run(tmp_path, f"{tmp_path}/long.txt", split=NO_HELD_OUT))
    kept = sorted(rows(made), key=lambda r: r["position"])
    assert "".join("".join(r["text"] for r in kept).split()) == "".join(text.split())
    assert {r["doc_id"] for r in kept} == {"long.txt"} and made.manifest.facts["documents"] == 1
    assert len({r["position"] >> 20 for r in kept}) >= 3 and len({r["row_id"] for r in kept}) == len(kept)


def test_a_moved_raw_directory_is_a_new_input_and_the_old_snapshot_stays(
    spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.txt").write_text(prose(1))
    before = snapshot(*run(tmp_path, f"{tmp_path}/in", split=NO_HELD_OUT))
    (tmp_path / "in").rename(tmp_path / "moved")
    record, directory = run(tmp_path, f"{tmp_path}/moved", split=NO_HELD_OUT)
    after = snapshot(record, directory)
    assert after.id != before.id and rows(after) == rows(before)
    assert [link.problems for link in verify_chain(directory.store, after.id)] == [[], []]
    again, _ = run(tmp_path, f"{tmp_path}/moved", split=NO_HELD_OUT)
    assert again.artifact == after.id and again.reused
    for place, path in ((tmp_path, f"artifacts/corpus/{after.id}"), (tmp_path / "artifacts/corpus", after.id)):
        monkeypatch.chdir(place)
        assert main([path]) == 0 and "2 artifacts, all whole" in capsys.readouterr().out


def javas(scratch: Path) -> dict[int, str]:
    """JAVA_HOME by major version: the system's, and the one that is packaged."""
    homes = [_packaged(scratch), find_java_home(scratch)]
    return {java_version(f"{home}/bin/java") or 0: home for home in homes}


@pytest.mark.faults  # a Spark of its own for each Java
def test_every_java_and_locale_gives_the_same_rows(tmp_path: Path) -> None:
    """Java 17 and 21 differ in word boundaries beside letters beyond ASCII; under LC_ALL=C Java cannot name files."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/caf\u00e9 1.txt").write_text("\n\n".join(f"{raw} {prose(n)}" for n, (raw, _) in enumerate(CASES)))
    (tmp_path / "in/\u6771.txt").write_text(
        "\u00e9jane@example.com\u00e9 \u6771\u4eac AKIAIOSFODNN7EXAMPLE\u00e9 " * 40 + prose(0)
    )
    found = javas(tmp_path / "java")
    if len(found) < 2:
        pytest.skip("there is one Java only: the packaged one")
    digests = {}
    for (major, home), locale in zip(found.items(), ("C", "C.UTF-8"), strict=True):
        directory = planned(tmp_path / str(major), f"{tmp_path}/in", split=NO_HELD_OUT)
        environment = {**os.environ, "JAVA_HOME": home, "LC_ALL": locale, "BATON_HOME": f"{tmp_path}/home{major}"}
        command = [sys.executable, "-m", "etl.job", directory.uri]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        digests[major] = directory.artifact("corpus").manifest.facts["content_digests"]
    assert len(digests) == 2 and len({json.dumps(d, sort_keys=True) for d in digests.values()}) == 1, digests
