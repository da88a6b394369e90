"""Rows of prompts and completions: the completion is learnt and scored, the prompt is given."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation.config import EvaluationConfig
from evaluation.passages import encode, held_out
from handoff import schema
from handoff.artifact import Artifact, open_artifact
from handoff.errors import ArtifactError
from handoff.publish import staging
from handoff.rows import open_corpus
from handoff.run_dir import RunDir
from handoff.store import Store
from handoff.tokenizer import ModelTokenizer
from tests.support import VERSES, publish_pairs
from training.base.artifact import publish_base_model
from training.config import BaseModelConfig
from training.data.ingest import Passages, read_and_tokenise
from training.data.packing import IGNORED, pack


@pytest.fixture
def pairs(store: Store, tiny_corpus: Artifact) -> Artifact:
    rows = list(zip(VERSES[:2], [" Indeed.", " So it is, and more."], strict=True))
    raw = open_artifact(store, tiny_corpus.manifest.parents[0].id)
    return publish_pairs(store, raw, {"train": rows, "validation": rows})


@pytest.fixture
def tokenizer(store: Store, tiny_model: Path) -> ModelTokenizer:
    return ModelTokenizer.of_model(publish_base_model(BaseModelConfig(source=str(tiny_model)), store, Path("unused")))


def test_only_completions_are_learnt(pairs: Artifact, tokenizer: ModelTokenizer) -> None:
    passages = Passages.of_corpus(pairs, "train", tokenizer, 1.0, 1)
    block = next(pack(passages.stream_here(), 256, tokenizer.end_id, pairs=passages.pairs))
    learnt = [int(t) for t in block.labels if t != IGNORED]
    first, second = tokenizer.texts([" Indeed.", " So it is, and more."], end=True)
    assert learnt == first + second and learnt.count(tokenizer.end_id) == 2, "each ends, and that is learnt"
    prompts = tokenizer.prompts(VERSES[:2])
    assert block.ids[: len(prompts[0])].tolist() == prompts[0]
    (table,) = read_and_tokenise(pa.table({"file": [0], "path": list(passages.paths)}), None, tokenizer)
    assert table["prompt"].to_pylist() == [len(p) for p in prompts]
    assert np.array_equal(table["tokens"][1].as_py(), prompts[1] + second)


def test_only_completions_are_scored(pairs: Artifact, tokenizer: ModelTokenizer) -> None:
    passages, left_out = held_out(pairs, "validation", tokenizer, EvaluationConfig())
    found = encode(passages, tokenizer)
    assert [e.given for e in found] == [len(ids) for ids in tokenizer.prompts(VERSES[:2])] and not left_out
    assert [e.bytes for e in found] == [len(" Indeed."), len(" So it is, and more.")]
    assert all(len(e.ids) > e.given for e in found)


def test_a_corpus_is_text_or_pairs_and_every_other_schema_is_named(
    pairs: Artifact, tiny_corpus: Artifact, store: Store, tmp_path: Path
) -> None:
    run = RunDir(str(tmp_path / "run"))
    run.create(store.root, {})
    for corpus in (pairs, tiny_corpus):
        with run.stage("corpus") as record:
            record.artifact = corpus.id
        assert open_corpus(run, "train").id == corpus.id
    with staging(store, "corpus", {"other": 1}, []) as place:
        pq.write_table(pa.table({"words": ["x"]}), f"{place.uri('train')}/part-00000.parquet")
        other = place.publish(schema=pa.schema([pa.field("words", pa.string())]), rows={"train": 1})
    with run.stage("corpus") as record:
        record.artifact = other.id
    with pytest.raises(ArtifactError, match="column 'text'"):
        open_corpus(run)


def test_an_empty_split_is_said(tiny_corpus: Artifact, store: Store, tmp_path: Path) -> None:
    with staging(store, "corpus", {"empty": 1}, []) as place:
        pq.write_table(schema.CORPUS.empty_table(), f"{place.uri('train')}/part-00000.parquet")
        empty = place.publish(schema=schema.CORPUS, rows={"train": 0})
    run = RunDir(str(tmp_path / "run"))
    run.create(store.root, {})
    with run.stage("corpus") as record:
        record.artifact = empty.id
    with pytest.raises(ArtifactError, match="split 'train' has no rows"):
        open_corpus(run, "train")


def test_a_row_of_ten_million_characters_is_tokenised_like_any_other(tokenizer: ModelTokenizer) -> None:
    line = VERSES[0] + " "
    (ids,) = tokenizer.texts([line * (10_000_000 // len(line))], end=True)
    assert len(ids) > 1_000_000 and ids[-1] == tokenizer.end_id
