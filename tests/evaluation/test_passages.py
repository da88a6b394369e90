"""Held-out passages: the same text for every model, the bytes that its tokens stand for, and what a model has seen."""

from pathlib import Path
from typing import Any

import pytest

from evaluation.config import EvaluationConfig
from evaluation.passages import LONG_PROMPT, SAME_DOCUMENT, SAME_TEXT, Passage, encode, held_out, seen_by
from handoff.artifact import Artifact, open_artifact
from handoff.errors import ArtifactError, ConfigError
from handoff.publish import staging
from handoff.store import Store
from handoff.tokenizer import ModelTokenizer
from tests.support import VERSES, publish_pairs, publish_rows


@pytest.fixture
def tokenizer(tiny_model: Path) -> ModelTokenizer:
    return ModelTokenizer.of_directory(tiny_model)


def rows(split: str, texts: list[str], document: str = "doc") -> list[dict[str, Any]]:
    return [
        {"row_id": f"{split}-{n}", "doc_id": f"{document}-{n}", "position": 0, "text": text}
        for n, text in enumerate(texts)
    ]


def trained_on(store: Store, corpus: Artifact) -> Artifact:
    with staging(store, "model", {"of": corpus.id}, [corpus]) as place:
        Path(place.uri("config.json")).write_text("{}")
        return place.publish()


def test_a_long_passage_is_cut_as_text_and_its_bytes_are_those_that_are_predicted(
    store: Store, tokenizer: ModelTokenizer
) -> None:
    texts = [f"Ça va? {VERSES[0]}", VERSES[1]]
    corpus = publish_rows(store, {"test": rows("test", texts)})
    passages, left_out = held_out(corpus, "test", tokenizer, EvaluationConfig(max_tokens=12))
    assert not left_out and [p.row_id for p in passages] == ["test-0", "test-1"]
    for passage, text, encoded in zip(passages, texts, encode(passages, tokenizer), strict=True):
        assert text.startswith(passage.text) and len(encoded.ids) == 12 and encoded.given == 1
        first = tokenizer.completion([], encoded.ids[:1])
        assert encoded.ids == tokenizer.texts([text], end=False)[0][:12]
        assert encoded.bytes == pytest.approx(len(passage.text.encode()) - len(first.encode()), abs=1)


def test_a_prompt_that_fills_the_length_is_counted(
    store: Store, tiny_corpus: Artifact, tokenizer: ModelTokenizer
) -> None:
    raw = open_artifact(store, tiny_corpus.manifest.parents[0].id)
    pairs = publish_pairs(store, raw, {"test": [(VERSES[0], " Yes."), ("Thou", " art.")]})
    passages, left_out = held_out(pairs, "test", tokenizer, EvaluationConfig(max_tokens=10))
    assert passages == [Passage("test-00001", " art.", "Thou")] and left_out == {LONG_PROMPT: 1}
    with pytest.raises(ConfigError, match=r"every test prompt is longer than evaluation\.max_tokens 8"):
        pairs = publish_pairs(store, raw, {"test": [(VERSES[0], " Yes.")] * 2})
        held_out(pairs, "test", tokenizer, EvaluationConfig(max_tokens=8))


def test_what_the_champion_was_trained_on_is_left_out_and_counted(store: Store, tokenizer: ModelTokenizer) -> None:
    old = publish_rows(store, {"train": [*rows("train", [VERSES[0]], "a"), *rows("train", [VERSES[1][:20]], "b")]})
    test = [*rows("test", [VERSES[0]], "renamed"), *rows("test", [VERSES[1]], "b"), *rows("test", VERSES[2:5], "c")]
    new = publish_rows(store, {"train": rows("train", VERSES[5:], "d"), "test": test})
    champion = trained_on(store, old)
    seen = seen_by(champion, new, ["test"])
    assert seen and seen.documents == {"b-0"} and len(seen.texts) == 1
    passages, left_out = held_out(new, "test", tokenizer, EvaluationConfig(max_passages=2), seen)
    assert [p.text for p in passages] == VERSES[2:4], "as many as asked for, of those that are left"
    assert left_out == {SAME_TEXT: 1, SAME_DOCUMENT: 1}


def test_a_champion_of_the_same_corpus_has_seen_no_held_out_row(store: Store) -> None:
    corpus = publish_rows(store, {"train": rows("train", VERSES[:2], "a"), "test": rows("test", VERSES[2:], "b")})
    assert seen_by(trained_on(store, corpus), corpus, ["test"]) is None


def test_nothing_left_and_a_corpus_that_is_gone_are_errors_with_a_remedy(
    store: Store, tokenizer: ModelTokenizer, tmp_path: Path
) -> None:
    old = publish_rows(store, {"train": rows("train", VERSES, "a")})
    new = publish_rows(store, {"train": rows("train", ["x"], "z"), "test": rows("test", VERSES, "a")})
    champion = trained_on(store, old)
    with pytest.raises(ConfigError, match=r"8 rows: the champion was trained on its document.*Remedy: hold out"):
        held_out(new, "test", tokenizer, EvaluationConfig(), seen_by(champion, new, ["test"]))
    store.delete(f"corpus/{old.id}")
    with pytest.raises(ArtifactError, match=old.id):
        seen_by(champion, new, ["test"])
