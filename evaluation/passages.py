"""The held-out passages that are scored: read from the corpus, cut to length, without those that a model has seen."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow.parquet as pq

from evaluation.config import EvaluationConfig
from handoff.artifact import Artifact
from handoff.errors import ConfigError
from handoff.parquet import batches
from handoff.rows import ROWS_PER_BATCH, TEXT_COLUMNS
from handoff.tokenizer import ModelTokenizer

SAME_DOCUMENT = "the champion was trained on its document"
SAME_TEXT = "the champion was trained on its text"
LONG_PROMPT = "its prompt fills max_tokens"


@dataclass(frozen=True)
class Passage:
    """A held-out row: plain text, or a prompt with the completion that is predicted after it (``text``)."""

    row_id: str
    text: str
    prompt: str | None = None


@dataclass(frozen=True)
class Encoded:
    """A passage under one tokenizer.

    Attributes:
        ids: its token ids.
        given: how many of the first ones are context; the others are predicted.
        bytes: UTF-8 bytes of the text that the predicted tokens stand for.
    """

    ids: list[int]
    given: int
    bytes: int


@dataclass
class Seen:
    """Documents and texts of a split that a model was trained on."""

    documents: set[str] = field(default_factory=set)
    texts: set[bytes] = field(default_factory=set)


def held_out(
    corpus: Artifact, split: str, tokenizer: ModelTokenizer, config: EvaluationConfig, seen: Seen | None = None
) -> tuple[list[Passage], dict[str, int]]:
    """The first passages of a split, in the manifest's order of files, at most ``max_tokens`` long under a tokenizer.

    Returns:
        The passages, and how many rows before the last of them were left out, by reason.

    Raises:
        ConfigError: the split has no rows, or none is left.
    """
    if not corpus.manifest.rows.get(split):
        raise ConfigError(
            f"{corpus.id} has no {split} passages. Remedy: hold documents out for it in corpus.split, "
            "or leave it out of evaluation.splits"
        )
    passages: list[Passage] = []
    left_out: Counter[str] = Counter()
    for document, passage in _rows(corpus, split):
        if len(passages) == config.max_passages:
            break
        reason = _seen(document, passage, seen)
        cut = None if reason else _cut(passage, tokenizer, config.max_tokens)
        if cut is not None:
            passages.append(cut)
        else:
            left_out[reason or LONG_PROMPT] += 1
    if passages:
        return passages, dict(left_out)
    if set(left_out) == {LONG_PROMPT}:
        raise ConfigError(f"every {split} prompt is longer than evaluation.max_tokens {config.max_tokens}: raise it")
    counted = "; ".join(f"{number} rows: {reason}" for reason, number in left_out.items())
    raise ConfigError(
        f"no {split} passage is left to compare the models on ({counted}). Remedy: hold out documents that the champion "
        "was not trained on (corpus.split), or take the criteria against the champion out of evaluation.gate"
    )


def seen_by(model: Artifact, corpus: Artifact, splits: Sequence[str]) -> Seen | None:
    """What of a corpus's splits a model was trained on; None where it was trained on this corpus itself, or on none.

    The splits of one corpus have no document in common. Of another one, documents are compared by ``doc_id``, so that
    other passages of the same document count too, and passages by their text, whatever document they are from.

    Raises:
        ArtifactError: the corpus that the model was trained on is not in the store.
    """
    from handoff.artifact import open_artifact

    trained_on = model.manifest.parent("corpus")
    if trained_on is None or trained_on == corpus.id:
        return None
    documents, texts = set(), set()
    for split in splits:
        for document, passage in _rows(corpus, split):
            documents.add(document)
            texts.add(_digest(passage))
    found = Seen()
    for document, passage in _rows(open_artifact(model.store, trained_on), "train"):
        if document in documents:
            found.documents.add(document)
        if (digest := _digest(passage)) in texts:
            found.texts.add(digest)
    return found


def encode(passages: Sequence[Passage], tokenizer: ModelTokenizer) -> list[Encoded]:
    """Passages as the token ids of a model.

    Without a token before the text, its first one has no context: it is given, and its bytes are not counted.
    """
    encoded = []
    for passage, (ids, given) in zip(passages, _ids(passages, tokenizer), strict=True):
        size = len(passage.text.encode())
        if given == 0:
            given = max(tokenizer.before, 1)
            if tokenizer.before == 0 and ids:
                (ends,) = tokenizer.ends([passage.text])
                size -= len(passage.text[: ends[0]].encode())
        encoded.append(Encoded(ids, given, size))
    return encoded


def _ids(passages: Sequence[Passage], tokenizer: ModelTokenizer) -> list[tuple[list[int], int]]:
    if passages and passages[0].prompt is not None:
        return tokenizer.pairs([p.prompt or "" for p in passages], [p.text for p in passages], end=False)
    return [(ids, 0) for ids in tokenizer.texts([p.text for p in passages], end=False)]


def _cut(passage: Passage, tokenizer: ModelTokenizer, longest: int) -> Passage | None:
    """A passage of at most so many tokens; None where its prompt has as many.

    The text is cut, not its ids: each model then reads the same text, in tokens of its own.
    """
    prompt = passage.prompt or ""
    ((ids, given),) = _ids([passage], tokenizer)
    while len(ids) > longest:
        if given >= longest:
            return None
        (ends,) = tokenizer.ends([prompt + passage.text])
        kept = ends[min(longest - tokenizer.before, len(ends) - 1) - 1] - len(prompt)
        text = passage.text[: min(max(kept, 0), len(passage.text) - 1)]
        if not text:
            return None
        passage = Passage(passage.row_id, text, passage.prompt)
        ((ids, given),) = _ids([passage], tokenizer)
    return None if given >= longest else passage


def _seen(document: str, passage: Passage, seen: Seen | None) -> str | None:
    if seen is None:
        return None
    if document in seen.documents:
        return SAME_DOCUMENT
    return SAME_TEXT if _digest(passage) in seen.texts else None


def _digest(passage: Passage) -> bytes:
    return hashlib.sha256(f"{passage.prompt or ''}\x1f{passage.text}".encode()).digest()[:16]


def _rows(corpus: Artifact, split: str) -> Iterator[tuple[str, Passage]]:
    """``doc_id`` and passage of each row of a split; holds one row group in memory."""
    for entry in corpus.manifest.files:
        if entry.split != split:
            continue
        filesystem, path = corpus.store.locate(corpus.path_of(entry))
        with pq.ParquetFile(path, filesystem=filesystem) as file:
            texts = [name for name in TEXT_COLUMNS if name in file.schema_arrow.names]
            for batch in batches(file, ["row_id", "doc_id", *texts], ROWS_PER_BATCH):
                for row in batch.to_pylist():
                    text = row["completion"] if "completion" in row else row["text"]
                    yield row["doc_id"], Passage(row["row_id"], text, row.get("prompt"))
