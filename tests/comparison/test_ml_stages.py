"""The stages that feed, train and infer: every form gives the same output, on real engines at the smallest size."""

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from comparison.data import generated, write_tables
from comparison.digest import close, digest_of, files
from comparison.form import Stage, Work
from comparison.registry import stage
from comparison.stages.shared.device import Load
from comparison.stages.shared.feeding import STEP_SECONDS, consume, figures
from comparison.stages.shared.feeding import STEPS as STEPS_OF_FEED
from comparison.stages.shared.inference import one_in
from comparison.stages.shared.keepers import SharedDirectory
from comparison.stages.shared.launch import STEPS
from comparison.stages.shared.model import make_model

SEED = 5
MEGABYTES = 0.3


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents in three files, as larger tables have them: one file alone would leave a worker without rows."""
    directory = tmp_path_factory.mktemp("tables")
    write_tables(generated(MEGABYTES, SEED), directory, SEED)
    (whole,) = files(directory / "documents")
    table = pq.read_table(whole)
    whole.unlink()
    third = -(-len(table) // 3)
    for n in range(3):
        pq.write_table(table.slice(n * third, third), directory / "documents" / f"part-{n}.parquet")
    return directory


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"), SEED)


def outputs(name: str, forms: tuple[str, ...], work: dict[str, Any], place: Path) -> dict[str, Path]:
    """Output of each form; the figures are asserted to be numbers of a finished run."""
    found = {}
    for form in map(stage(name).form, forms):
        output, scratch = place / form.variant, place / f"scratch-{form.engine}"
        scratch.mkdir(exist_ok=True)
        its = work if form.engine == "spark" else work | {"spark": None}  # as in a process of that engine alone
        figures = form.run(Work(output=output, scratch=scratch, **its)) or {}
        assert all(np.isfinite(value) for value in figures.values())
        found[form.name] = output
    return found


def differences(one: Stage, found: dict[str, Path]) -> list[str]:
    """Every pair of forms whose outputs are not equal."""
    unequal = []
    for (name, output), (other, its) in itertools.combinations(found.items(), 2):
        if one.compared == "close":
            apart = close(output, its, one.tolerance)
        else:
            ours, theirs = digest_of(output, one.compared), digest_of(its, one.compared)
            apart = None if ours == theirs else f"{ours} and {theirs}"
        unequal += [f"{name}, {other}: {apart}"] if apart else []
    return unequal


@pytest.fixture
def work(tables: Path, model: Path, spark: Any, ray_cluster: None) -> dict[str, Any]:
    """What all forms are given alike."""
    options = {"model": str(model), "device_seconds": 2.0}
    return {
        "tables": tables, "megabytes": MEGABYTES, "cores": 2, "memory_bytes": 1 << 30, "spark": spark, "options": options,
    }  # fmt: skip


def all_forms(name: str) -> tuple[str, ...]:
    return tuple(form.name for form in stage(name).forms)


def test_each_row_reaches_one_worker_whatever_feeds_them(work: dict[str, Any], tmp_path: Path) -> None:
    found = outputs("feed", all_forms("feed"), work, tmp_path)
    assert differences(stage("feed"), found) == []
    documents = pq.read_table(work["tables"] / "documents")["document_id"].to_pylist()
    for output in found.values():
        assert Counter(pq.read_table(output)["document_id"].to_pylist()) == Counter(documents)


@pytest.mark.faults
def test_every_engine_makes_the_same_embeddings(work: dict[str, Any], tmp_path: Path) -> None:
    found = outputs("embed", all_forms("embed"), work, tmp_path)
    assert differences(stage("embed"), found) == []
    table = pq.read_table(found["ray actor_pool"])
    vectors = np.array(table["embedding"].to_pylist())
    assert sorted(table["document_id"].to_pylist()) == [n for n in range(_documents(work)) if n % 16 == 0]
    assert len(np.unique(vectors.round(4), axis=0)) == len(vectors)  # each document has one of its own


@pytest.mark.faults
def test_every_engine_generates_the_same_tokens(work: dict[str, Any], tmp_path: Path) -> None:
    found = outputs("generate", all_forms("generate"), work, tmp_path)
    assert differences(stage("generate"), found) == []
    table = pq.read_table(found["ray actor_pool"])
    assert sorted(table["document_id"].to_pylist()) == [n for n in range(_documents(work)) if n % 256 == 0]
    assert all(len(tokens) == 16 for tokens in table["tokens"].to_pylist())


def _documents(work: dict[str, Any]) -> int:
    return pq.read_table(work["tables"] / "documents").num_rows


@pytest.mark.faults
def test_spark_and_ray_train_the_same_weights(work: dict[str, Any], tmp_path: Path) -> None:
    found = outputs("train", ("spark local", "ray trainer"), work, tmp_path)
    assert differences(stage("train"), found) == []
    _has_learnt(found["ray trainer"], work)


def _has_learnt(output: Path, work: dict[str, Any]) -> None:
    rows = {(row["name"], row["step"]): row["values"] for row in pq.read_table(output).to_pylist()}
    losses = [rows["loss", n][0] for n in range(STEPS)]
    assert losses[-1] < losses[0] - 0.5
    from safetensors.numpy import load_file

    start = load_file(f"{work['options']['model']}/model.safetensors")
    norm = "model.norm.weight"
    assert np.abs(np.array(rows[norm, -1]) - start[norm]).max() > 1e-3


@pytest.mark.faults
def test_every_launcher_trains_the_same_weights(work: dict[str, Any], tmp_path: Path) -> None:
    assert differences(stage("train"), outputs("train", all_forms("train"), work, tmp_path)) == []


@pytest.mark.faults
def test_a_killed_worker_changes_no_loss(work: dict[str, Any], tmp_path: Path) -> None:
    """Each form asserts itself that the kill fired and that training went on from a checkpoint."""
    (tmp_path / "clean").mkdir()
    clean = outputs("train", ("python torchrun",), work, tmp_path / "clean")
    killed = outputs("recover", all_forms("recover"), work, tmp_path)
    assert differences(stage("recover"), killed | clean) == []


@pytest.mark.faults
def test_every_engine_gives_the_devices_answers(work: dict[str, Any], tmp_path: Path) -> None:
    found = outputs("overlap", all_forms("overlap"), work, tmp_path)
    assert differences(stage("overlap"), found) == []
    assert digest_of(found["python pool"]).rows == 20


def test_two_callers_wait_for_one_device(tables: Path, tmp_path: Path) -> None:
    """What the stage measures is this wait: a lock that does not hold would make every form look perfect."""
    import threading
    import time

    options = {"device_seconds": 2.0}
    load = Load.of(Work(tables, tmp_path / "out", tmp_path, MEGABYTES, cores=2, memory_bytes=1, options=options))
    assert (load.rows, load.device_seconds, round(load.cpu_seconds, 6)) == (20, 0.1, 0.16)
    prepared = pa.table({"document_id": [0, 1], "prepared": [4, 6]})
    begun = time.monotonic()
    callers = [threading.Thread(target=load.answer, args=(prepared,)) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert time.monotonic() - begun >= 4 * load.device_seconds
    assert load.answer(prepared)["answer"].to_pylist() == [2, 3]


def test_how_long_the_cpu_stage_takes_does_not_change_its_rows(tables: Path, tmp_path: Path) -> None:
    import time

    load = Load(2, cpu_seconds=0.05, device_seconds=0.0, cores=1, lock=str(tmp_path / "lock"))
    begun = time.thread_time()
    prepared = load.prepare(pa.table({"document_id": [0, 1], "text": ["a", "b"]}))
    assert time.thread_time() - begun >= 0.1
    again = Load(2, 0.0, 0.0, 1, load.lock).prepare(pa.table({"document_id": [0, 1], "text": ["a", "b"]}))
    assert prepared == again


def test_a_worker_tells_of_its_stalls(tmp_path: Path) -> None:
    import time

    def slow() -> Any:
        for n in range(3):
            time.sleep(0.2)
            yield pa.RecordBatch.from_pydict({"document_id": [n], "text": ["ab"]})

    begun = time.monotonic()
    (told,) = consume(slow(), tmp_path, 0).to_pylist()
    assert told["first"] - begun >= 0.2
    assert 0.4 <= told["stalled"] <= told["stepped"] - told["first"] - 3 * STEP_SECONDS
    assert told["fast_rows"] == 0
    assert pq.read_table(tmp_path / "worker-0.parquet").to_pylist()[2] == {"document_id": 2, "characters": 2}


def test_beyond_its_steps_a_worker_takes_batches_as_they_come(tmp_path: Path) -> None:
    batches = [pa.RecordBatch.from_pydict({"document_id": [n], "text": ["ab"]}) for n in range(STEPS_OF_FEED + 5)]
    told = consume(iter(batches), tmp_path, 0)
    (row,) = told.to_pylist()
    assert row["fast_rows"] == 5 and row["rows"] == STEPS_OF_FEED + 5
    assert row["stepped"] - row["first"] >= STEPS_OF_FEED * STEP_SECONDS
    found = figures(row["first"], pa.Table.from_batches([told]))
    assert found["highest_rows_per_second"] == pytest.approx(5 / (row["last"] - row["stepped"]))


def test_only_a_checkpoint_that_all_have_written_counts(tmp_path: Path) -> None:
    kept = SharedDirectory(str(tmp_path))
    with kept.newest() as none:
        assert none is None
    for step, whole in ((5, True), (10, True), (15, False)):
        (tmp_path / f"{step:06d}").mkdir()
        if whole:
            (tmp_path / f"{step:06d}" / "_WHOLE").touch()
    with kept.newest() as newest:
        assert newest == tmp_path / "000010"


def test_one_in_so_many_documents() -> None:
    table = pa.table({"document_id": [0, 1, 15, 16, 31, 32], "text": list("abcdef"), "source": list("uvwxyz")})
    assert one_in(table, 16).to_pydict() == {"document_id": [0, 16, 32], "text": ["a", "d", "f"]}
    assert one_in(table.slice(1, 2), 16).num_rows == 0
