"""Publishing is all or nothing: whatever goes wrong, a reader sees a whole artifact or none."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from handoff import schema
from handoff.artifact import open_artifact
from handoff.budget import MIB, Budget, check
from handoff.errors import ArtifactError
from handoff.manifest import MANIFEST_NAME, FileEntry, artifact_dir, artifact_id
from handoff.publish import Staging, find, staging
from handoff.store import Store

CONFIG = {"what": "numbers"}


def table(rows: int, text: str = "some words") -> pa.Table:
    return pa.table(
        {
            "row_id": [f"r{n}" for n in range(rows)],
            "doc_id": ["d"] * rows,
            "position": pa.array(range(rows), pa.int32()),
            "text": [text] * rows,
        },
        schema=schema.CORPUS,
    )


def write(place: Staging, split: str = "train", rows: int = 10, row_group: int = 1000) -> None:
    pq.write_table(table(rows), f"{place.uri(split)}/part-0.parquet", row_group_size=row_group)


def publish(store: Store, config: dict[str, str] = CONFIG, rows: int = 10) -> str:
    with staging(store, "corpus", config, []) as place:
        write(place, rows=rows)
        return place.publish(schema=schema.CORPUS, rows={"train": rows}).id


def test_manifest_says_what_is_there(store: Store) -> None:
    with staging(store, "corpus", CONFIG, []) as place:
        write(place, "train", 10, row_group=4)
        write(place, "test", 3)
        made = place.publish(schema=schema.CORPUS, rows={"train": 10, "test": 3}, dropped={"too_short": 2})
    opened = open_artifact(store, made.id, schema=schema.CORPUS, digests=True, split="train")
    entry = next(f for f in opened.manifest.files if f.split == "train")
    assert opened.manifest.rows == {"train": 10, "test": 3} and opened.manifest.dropped == {"too_short": 2}
    assert (entry.rows, entry.row_groups) == (10, 3) and entry.largest_row_group_bytes
    assert pq.read_table(opened.files("train")).num_rows == 10
    assert opened.manifest.schema_fingerprint == schema.fingerprint(schema.CORPUS)
    assert opened.manifest.producer.versions["pyarrow"] == pa.__version__


def test_same_work_has_the_same_id_and_other_work_another(store: Store) -> None:
    first = publish(store)
    assert first == artifact_id("corpus", CONFIG, [])
    assert find(store, "corpus", CONFIG, []).id == first  # type: ignore[union-attr]
    assert find(store, "corpus", {"what": "letters"}, []) is None
    assert publish(store, {"what": "letters"}) != first


def test_nothing_is_visible_before_the_manifest(store: Store) -> None:
    with staging(store, "corpus", CONFIG, []) as place:
        write(place)
        assert find(store, "corpus", CONFIG, []) is None
        place.publish(schema=schema.CORPUS)
    assert find(store, "corpus", CONFIG, []) is not None


def test_an_error_while_writing_leaves_nothing(store: Store) -> None:
    with pytest.raises(RuntimeError, match="boom"), staging(store, "corpus", CONFIG, []) as place:
        write(place)
        raise RuntimeError("boom")
    assert list(store.files("corpus")) == []


def test_every_mismatch_is_in_one_error(store: Store) -> None:
    with pytest.raises(ArtifactError) as caught, staging(store, "corpus", CONFIG, []) as place:
        write(place, rows=10)
        wrong = table(5).drop_columns(["text"]).append_column("words", pa.array([1] * 5))
        pq.write_table(wrong, f"{place.uri('test')}/part-0.parquet")
        place.publish(
            schema=schema.CORPUS, rows={"train": 11, "test": 5}, budget=Budget(max_row_group_bytes=1, max_files=1)
        )
    problems = "\n".join(caught.value.problems)
    for expected in (
        "'train': 11 rows were counted, 10 written",
        "test/part-0.parquet: column 'text' (string) is missing",
        "test/part-0.parquet: column 'words' (int64) is not declared",
        "2 files, the budget is 1",
        "train/part-0.parquet: a row group of",
    ):
        assert expected in problems
    assert "Remedy" in str(caught.value)
    assert list(store.files("corpus")) == []


@pytest.mark.parametrize(
    ("sizes", "target_mib", "problem"),
    [
        ([10, 10, 9], 10, None),
        ([12, 12, 10], 10, None),
        (
            [13, 12],
            10,
            "train/0: 13.00 MiB is more than 20% above the target of 10.00 MiB: set target_file_mib to 12.50 or above",
        ),
        ([9, 9, 6], 10, "train/2: 6.00 MiB differs by more than 20% from its split's mean of 8.00 MiB: change"),
        ([3], 10, None),
    ],
)
def test_files_are_as_large_as_asked_and_even(sizes: list[int], target_mib: int, problem: str | None) -> None:
    files = [
        FileEntry(path=f"train/{i}", bytes=size * MIB, sha256="0" * 64, split="train", rows=2000, row_groups=1)
        for i, size in enumerate(sizes)
    ]
    budget = Budget(max_row_group_bytes=MIB, max_files=9, target_file_bytes=target_mib * MIB)
    problems = check(files, {"train": 2000 * len(files)}, budget)
    assert (problem in problems[0]) if problem else problems == []
    few = [file.model_copy(update={"rows": 20}) for file in files]  # so few that chance decides
    assert check(few, None, budget) == []


def test_publishing_nothing_is_refused(store: Store) -> None:
    with pytest.raises(ArtifactError, match="no file was written"), staging(store, "corpus", CONFIG, []) as place:
        place.publish(schema=schema.CORPUS)


def test_engines_own_markers_are_not_data(store: Store) -> None:
    with staging(store, "corpus", CONFIG, []) as place:
        write(place)
        Path(place.uri("train"), "_SUCCESS").touch()
        Path(place.uri("train"), ".part-0.parquet.crc").write_bytes(b"x")
        made = place.publish(schema=schema.CORPUS)
    assert [f.path for f in made.manifest.files] == ["train/part-0.parquet"]


def test_the_second_writer_adopts_what_the_first_published(store: Store) -> None:
    with staging(store, "corpus", CONFIG, []) as late:
        write(late, rows=7)
        first = publish(store)
        adopted = late.publish(schema=schema.CORPUS, rows={"train": 7})
    assert adopted.id == first and adopted.manifest.rows == {"train": 10}
    assert not Path(late.uri()).exists() or not list(Path(late.uri()).iterdir())


def _race(root: str, barrier: "multiprocessing.synchronize.Barrier", rows: int) -> None:  # type: ignore[name-defined]
    store = Store(root)
    with staging(store, "corpus", CONFIG, []) as place:
        write(place, rows=rows)
        barrier.wait()
        place.publish(schema=schema.CORPUS, rows={"train": rows})


def test_concurrent_writers_of_one_id_leave_one_whole_artifact(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(4)
    writers = [context.Process(target=_race, args=(store.root, barrier, 10 + n)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [w.exitcode for w in writers] == [0] * 4
    made = open_artifact(store, artifact_id("corpus", CONFIG, []), digests=True)
    assert made.manifest.rows["train"] in range(10, 14)
    attempts = {p.split("/")[2] for p in store.files(artifact_dir(made.id))}
    assert attempts == {MANIFEST_NAME, made.manifest.data}


CRASHER = """
import sys
sys.path[:0] = {path!r}
from handoff.store import Store
from tests.handoff.test_publish import publish
publish(Store({root!r}))
print("survived")
"""


@pytest.mark.parametrize("point", ["publish.written", "publish.checked", "publish.visible"])
def test_a_kill_at_any_point_leaves_a_whole_artifact_or_none(store: Store, point: str) -> None:
    code = CRASHER.format(path=[str(Path(__file__).parents[2])], root=store.root)
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "BATON_CRASH_AT": point}, capture_output=True, text=True
    )
    assert done.returncode == -9, done.stderr  # the fault fired
    assert "survived" not in done.stdout
    found = find(store, "corpus", CONFIG, [])
    assert (found is not None) == (point == "publish.visible")
    assert publish(store) == artifact_id("corpus", CONFIG, [])  # a plain retry succeeds
    open_artifact(store, artifact_id("corpus", CONFIG, []), digests=True)


def test_abandoned_attempts_go_once_they_are_old(store: Store) -> None:
    directory = artifact_dir(artifact_id("corpus", CONFIG, []))
    for name, days in (("data-old00000", 3), ("data-young000", 0)):
        path = Path(store.root, directory, name, "part-0.parquet")
        path.parent.mkdir(parents=True)
        path.write_bytes(b"half")
        os.utime(path, (path.stat().st_mtime - days * 86400,) * 2)
    publish(store)
    assert not Path(store.root, directory, "data-old00000").exists()
    assert Path(store.root, directory, "data-young000").exists()


FILL = """
import os, sys
sys.path[:0] = {path!r}
from handoff.errors import ArtifactError
from handoff.publish import staging
from handoff.store import Store
store = Store({root!r})
try:
    with staging(store, "model", {{"big": 1}}, []) as place:
        with open(place.uri() + "/weights", "wb") as file:
            for _ in range(64):
                file.write(b"x" * (1 << 20))
        place.publish()
except ArtifactError as error:
    print(error)
print(list(store.files("model")))
"""


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    """On a real filesystem of 8 MiB, mounted in a namespace of its own."""
    root = tmp_path / "small"
    root.mkdir()
    code = FILL.format(path=[str(Path(__file__).parents[2])], root=str(root / "artifacts"))
    script = f'mount -t tmpfs -o size=8m baton {root} && exec {sys.executable} -c "$CODE"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script] if os.geteuid() == 0 else ["unshare", "-rm", "sh", "-c", script],
        env={**os.environ, "CODE": code},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "no space left" in done.stdout and "BATON_HOME" in done.stdout
    assert done.stdout.strip().endswith("[]")
