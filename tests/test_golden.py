"""A stage that makes other rows of the same input raises the version of its code, or this fails and says so."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import etl.job
import evaluation.job
import inference.lineage
import inference.prompts
import training.identity
from handoff.artifact import Artifact, open_artifact
from handoff.store import Store
from handoff.tokenizer import ModelTokenizer
from tests import golden
from tests.etl.corpus_run import prose, rows, run, snapshot
from tests.support import publish_pairs


def test_the_corpus(spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain texts with near-duplicates, personal data, markup of mojibake and lines to join; every step is on."""
    monkeypatch.setenv("BATON_HOME", str(tmp_path / "home"))
    source = tmp_path / "plays"
    source.mkdir()
    for number in range(10):
        (source / f"play{number}.txt").write_text(prose(number))
    (source / "copy.txt").write_text(prose(3))
    (source / "near.txt").write_text(f"{prose(4)[:-4]}else")
    (source / "odd.txt").write_text(
        f"Write to will@example.org or 192.168.7.9.\n\n{prose(20)}\n\nnaÃ¯ve cafÃ© hy-\nphenated\n\n{'- ! # 7 ' * 40}"
    )
    record, directory = run(
        tmp_path,
        f"{source}/*.txt",
        split={"test_documents": ["play1.txt"], "validation_documents": ["play2*"], "validation_fraction": 0.1},
        cleaning={"join_wrapped_lines": True},
        quality={"banned_phrases": ["mistress"]},
        decontamination={"held_out_words": 13},
        keep_rejects=True,
    )
    made = snapshot(record, directory)
    signatures = next(path for path in directory.store.files("signatures") if path.endswith("_MANIFEST.json"))
    cached = open_artifact(directory.store, signatures.split("/")[1])
    keys = sorted((row["row_id"], row["fingerprint"].hex(), row["keys"]) for row in rows(cached))
    contents = {
        "rows": {split: rows(made, split) for split in made.manifest.rows},
        "dropped": made.manifest.dropped,
        "signatures": keys,
    }
    assert {"exact_duplicate", "near_duplicate"} <= made.manifest.dropped.keys(), "the input exercises little"
    golden.check("corpus", etl.job.CODE_VERSION, "CODE_VERSION in etl/job.py", contents)


def test_the_prompts(store: Store, tiny_corpus: Artifact, tmp_path: Path) -> None:
    """Openings of held-out passages, and a file with columns to carry and a row without a prompt."""
    file = tmp_path / "prompts.jsonl"
    asked = [{"id": 7, "prompt": "To be", "hint": "x"}, {"id": "b", "prompt": None, "hint": None}]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in asked))
    config = inference.prompts.InferenceConfig
    made = [
        inference.prompts.publish_prompts(store, config(prompts=str(file), carry=("hint",)), None),
        inference.prompts.publish_prompts(store, config(held_out_prompts=3), tiny_corpus),
    ]
    contents = [pq.read_table(path).to_pylist() for artifact in made for path in artifact.files()]
    golden.check("prompts", inference.prompts.CODE_VERSION, "CODE_VERSION in inference/prompts.py", contents)


def test_the_model(store: Store, tiny_model: Path, tiny_corpus: Artifact) -> None:
    """Blocks of text and of pairs, and the losses of three optimizer steps at the rates of the schedule."""
    import torch

    from training.config import BaseModelConfig, TrainingConfig
    from training.data.ingest import Passages, rows_of
    from training.recipe import next_token_loss
    from training.worker.deepspeed_config import learning_rate, make_optimizer
    from training.worker.model import load_model

    tokenizer = ModelTokenizer.of_directory(tiny_model)
    raw = open_artifact(store, tiny_corpus.manifest.parents[0].id)
    pairs = publish_pairs(store, raw, {"train": [(f"What is {n}?", "word " * n) for n in range(1, 20)]})
    streams = [Passages.of_corpus(corpus, "train", tokenizer, 1, 1) for corpus in (tiny_corpus, pairs)]
    blocks = [
        stream.first_blocks(64, 12, padded=padded) for stream, padded in zip(streams * 2, (0, 0, 1, 1), strict=True)
    ]
    config = TrainingConfig(base=BaseModelConfig(source=str(tiny_model)), method="full", zero_stage=0, seq_len=64)
    model = load_model(str(tiny_model), config, 1).eval()  # without dropout
    optimizer, losses = make_optimizer(model, config), []
    for step in range(3):
        rows = rows_of(blocks[step % 2][4 * step : 4 * step + 4], 4, 64)
        names = {"input_ids": rows.ids, "position_ids": rows.positions, "labels": rows.labels}
        batch = {name: torch.as_tensor(values).long() for name, values in names.items()}
        loss = next_token_loss(model, batch) / (batch["labels"][:, 1:] >= 0).sum()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, 3, config) * 10
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    contents = [
        [(block.ids.tolist(), list(block.lengths), block.labels.tolist(), block.index) for block in some]
        for some in blocks
    ]
    golden.check("model", training.identity.CODE_VERSION, "CODE_VERSION in training/identity.py", contents, losses)


def test_the_evaluation(tiny_model: Path, tiny_corpus: Artifact) -> None:
    """The held-out passages in tokens, and their perplexity."""
    from transformers import AutoModelForCausalLM

    from evaluation.config import EvaluationConfig
    from evaluation.passages import encode, held_out
    from evaluation.scoring import bits_per_byte, passage_nll, perplexity

    config = EvaluationConfig(max_passages=6, max_tokens=24)
    tokenizer = ModelTokenizer.of_directory(tiny_model)
    passages, left_out = held_out(tiny_corpus, "test", tokenizer, config, None)
    encoded = encode(passages, tokenizer)
    model = AutoModelForCausalLM.from_pretrained(tiny_model).eval()
    ids, given, sizes = ([getattr(one, name) for one in encoded] for name in ("ids", "given", "bytes"))
    scores = passage_nll(model, ids, tokenizer.end_id, given)
    figures = [perplexity(scores), bits_per_byte(sum(nll for nll, _ in scores), sum(sizes))]
    where = "CODE_VERSION in evaluation/job.py"
    golden.check("evaluation", evaluation.job.CODE_VERSION, where, [ids, given, sizes, left_out], figures)


def test_the_predictions(tiny_model: Path) -> None:
    """Greedy and drawn answers, one that a text ends, and the scores of given ones."""
    from inference.config import InferenceConfig
    from inference.engines.load import load_engine

    tokenizer = ModelTokenizer.of_directory(tiny_model)
    prompts = [list(range(5, 5 + length)) for length in (3, 9, 20)]
    contents: list[Any] = []
    settings: list[dict[str, Any]] = [{"temperature": 0}, {"n": 2, "seed": 3}, {"temperature": 0, "stop": ("e",)}]
    for some in settings:
        engine = load_engine(InferenceConfig(max_new_tokens=12, **some), str(tiny_model), tokenizer)
        answers = engine.generate(prompts, [11, 12, 13])
        contents.append([[(answer.token_ids, answer.finish_reason) for answer in own] for own in answers])
    scores = engine.score(prompts, [[40, 41], [42], [43, 44, 45]])
    figures = [value for row in scores for value in row]
    where = "CODE_VERSION in inference/lineage.py"
    golden.check("predictions", inference.lineage.CODE_VERSION, where, contents, figures)


def test_other_rows_at_the_same_version_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden, "GOLDEN", tmp_path / "golden.json")
    monkeypatch.delenv(golden.ACCEPT, raising=False)
    golden.GOLDEN.write_text("{}")

    def said(*given: Any) -> str:
        with pytest.raises(pytest.fail.Exception) as caught:
            golden.check("corpus", *given)
        return str(caught.value)

    assert "V was raised to 1. Remedy: `make golden`" in said(1, "V", ["a"], [1.0])
    monkeypatch.setenv(golden.ACCEPT, "accept")
    golden.check("corpus", 1, "V", ["a"], [1.0])
    told = (
        "the same input gives other rows, and the version is still 1, so old results would be reused. Remedy: raise V"
    )
    assert told in said(1, "V", ["b"], [1.0]), "nor does `make golden` hide it"
    assert told in said(1, "V", ["a"], [1.01]) and told in said(1, "V", ["a"])
    golden.check("corpus", 1, "V", ["a"], [1.0001])
    golden.check("corpus", 2, "V", ["b"], [1.0])
    monkeypatch.delenv(golden.ACCEPT)
    golden.check("corpus", 2, "V", ["b"], [1.0])
    assert "a version never goes back" in said(1, "V", ["a"], [1.0])
