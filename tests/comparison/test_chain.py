"""The whole chain gives the same rows, blocks, losses, weights and predictions, whichever engines do it."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from comparison.chain.clock import Clock
from comparison.chain.completer import prompts_of
from comparison.chain.settings import OPENING_WORDS, STEPS, Chain
from comparison.chain.told import tell
from comparison.chain.worker import ReadByRank, deal_of, passages_of
from comparison.data import generated, write_tables
from comparison.digest import close
from comparison.form import Work
from comparison.page.stage_view import source_of
from comparison.registry import stage
from comparison.stages.shared.model import make_model
from handoff.schema import CORPUS
from training.data.ingest import BlockFeeder, Cursor, Share

SEED = 0


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's directory without weights: 256 bytes are its tokens, and one that ends a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    directory = tmp_path_factory.mktemp("tokenizer")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate([*letters, "<end>"])}, merges=[]))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.add_special_tokens(["<end>"])
    made.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text('{"eos_token": "<end>"}')
    return directory


@pytest.fixture
def chain(tmp_path: Path, tokenizer: Path) -> Chain:
    """Settings of a run in ``tmp_path``."""
    work = Work(tmp_path / "tables", tmp_path / "out", tmp_path, 1, 2, 1 << 30, options={"model": str(tokenizer)})
    return Chain.of(work).fresh()


@pytest.fixture
def rows(chain: Chain) -> list[str]:
    """Two files of ordered rows."""
    texts = [text for _, text in generated(0.05, SEED)]
    chain.rows.mkdir()
    paths = []
    for n, part in enumerate((texts[:7], texts[7:])):
        ids = [f"{n}-{k}" for k in range(len(part))]
        table = pa.table([ids, ids, pa.array([0] * len(part), pa.int32()), part], schema=CORPUS)
        paths.append(str(chain.rows / f"part-{n}.parquet"))
        pq.write_table(table, paths[-1])
    return paths


def test_each_rank_reads_its_part_of_the_same_blocks_also_from_the_middle_on(chain: Chain, rows: list[str]) -> None:
    def shares(begin: int, cursor: Cursor) -> list[tuple[Share, Share]]:
        feeder = BlockFeeder(passages_of(chain, rows, ReadByRank), deal_of(chain), begin, cursor)
        return [(feeder.share(step, 0), feeder.share(step, 1)) for step in range(begin, 20)]

    whole = shares(0, Cursor())
    middle = whole[11][0].cursor
    assert middle.passage > 0 and middle.taken > 0
    rest = shares(12, middle)
    blocks = [ids for first, second in whole for ids in (*first.rows.ids, *second.rows.ids)]
    stream = np.concatenate([p.ids for p in passages_of(chain, rows, ReadByRank).stream_here()])
    assert np.array_equal(np.concatenate(blocks), stream[: len(blocks) * chain.training.seq_len])
    for (a, b), (c, d) in zip(whole[12:], rest, strict=True):
        assert np.array_equal(a.rows.ids, c.rows.ids)
        assert np.array_equal(b.rows.ids, d.rows.ids)


def test_prompts_are_the_openings_of_the_first_rows(chain: Chain, rows: list[str]) -> None:
    prompts = prompts_of(chain, rows).to_pylist()
    texts = [text for file in rows for text in pq.read_table(file)["text"].to_pylist()]
    assert [p["id"] for p in prompts[6:9]] == ["0-6", "1-0", "1-1"]
    assert prompts[7]["prompt"].split() == texts[7].split()[:OPENING_WORDS]
    assert len(prompts) == min(len(texts), chain.prompts)


@pytest.mark.parametrize("change", ["", "row", "block", "loss", "weight", "completion"])
def test_whatever_differs_is_found(chain: Chain, rows: list[str], tmp_path: Path, change: str) -> None:
    from safetensors.numpy import save_file

    def told(name: str, changed: str) -> Path:
        weights = np.linspace(0, 1, 10, dtype=np.float32)
        weights[5] += 2e-5 if changed == "weight" else 0
        chain.tuned.mkdir(exist_ok=True)
        save_file({"w": weights}, chain.tuned / "model.safetensors")
        for rank in (0, 1):
            again = {"step": 0, "loss": 9.0, "blocks": "before a restart"}
            entry = {"step": 0, "loss": 4.0 + 2e-5 * (changed == "loss"), "blocks": f"b{changed == 'block'}"}
            (chain.scratch / f"blocks-{rank}.jsonl").write_text(f"{json.dumps(again)}\n{json.dumps(entry)}\n")
        completion = "other" if changed == "completion" else "text"
        files = rows[::-1] if changed == "row" else rows
        tell(chain, files, pa.table({"id": ["0"], "completion": [completion]}), tmp_path / name)
        return tmp_path / name

    assert (close(told("one", ""), told("other", change), 1e-5) is None) == (change == "")


def test_a_part_that_fails_is_tried_again_only_where_its_caller_retries() -> None:
    attempts = Counter[str]()

    def fails_once(name: str) -> str:
        attempts[name] += 1
        if attempts[name] == 1:
            raise RuntimeError("a worker was lost")
        return name

    patient = Clock(retries=1)
    assert patient.timed("train", fails_once, "patient") == "patient"
    assert patient.figures["train_retries"] == 1
    with pytest.raises(RuntimeError):
        Clock().timed("train", fails_once, "hasty")


def test_the_code_of_an_architecture_is_all_that_is_its_own() -> None:
    spark, ray, relay = (source_of(form.run, *form.sources) for form in stage("chain").forms)
    assert "TorchDistributor(" in spark and "TorchTrainer(" not in spark
    assert "TorchTrainer(" in ray and "orderBy(" not in ray
    assert "TorchTrainer(" in relay and "orderBy(" in relay and "TorchDistributor(" not in relay


def run(directory: Path, engine: str, name: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """One run of the chain in a fresh process; its output is ``directory/NAME``."""
    scratch = directory / f"scratch-{name}"
    scratch.mkdir()
    command = [engine, str(directory / "tables"), str(directory / name), str(scratch), json.dumps(options)]
    return subprocess.run(
        [sys.executable, "-m", "tests.comparison.chain_run", *command],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, env=dict(os.environ),
    )  # fmt: skip


@pytest.mark.faults
def test_three_architectures_make_the_same_and_survive_a_killed_trainer(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model", SEED)
    write_tables(generated(1, SEED), tmp_path / "tables", SEED)
    options = {"model": str(model)}
    for engine in ("spark", "ray", "relay"):
        done = run(tmp_path, engine, engine, **options)
        assert done.returncode == 0, done.stdout[-3000:]
    kinds = Counter(row["kind"] for row in pq.read_table(tmp_path / "spark").to_pylist())
    assert kinds["step"] == 2 * STEPS and kinds["weights"] > 10 and kinds["prediction"] == 64 and kinds["rows"] == 1
    for engine in ("ray", "relay"):
        assert close(tmp_path / "spark", tmp_path / engine, 1e-5) is None

    done = run(tmp_path, "ray", "ray-dies", **options, die="train")
    assert done.returncode == 0, done.stdout[-3000:]
    done = run(tmp_path, "spark", "spark-dies", **options, die="train")
    assert done.returncode != 0 and "barrier" in done.stdout
    done = run(tmp_path, "spark", "spark-retried", **options, die="train", retries=1)
    assert done.returncode == 0, done.stdout[-3000:]
    for name in ("ray-dies", "spark-dies", "spark-retried"):
        assert (tmp_path / f"scratch-{name}" / "chain" / "died-train").exists()
    for name in ("ray-dies", "spark-retried"):
        assert close(tmp_path / "spark", tmp_path / name, 1e-5) is None
