"""The data card, ``card.json`` beside the splits: what is in a snapshot, and what was dropped for which reason."""

import json
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl import tally
from etl.config import CorpusConfig
from etl.funnel import Funnel
from etl.read.source import Source
from handoff.facts import Change, CorpusFacts, Example, MixedSource, TopDocument

NAME = "card.json"
LOCATIONS: dict[str, Any] = {
    "source": {"uri"},
    "more_sources": {"__all__": {"uri"}},
    "decontamination": {"files"},
}  # left out of the card: its bytes are part of the artifact, and must not depend on where the files are
BYTES_PER_TOKEN = 4  # of English text and the usual 30,000 to 100,000 pieces: an estimate, and named so
TOP_SOURCES = 10


def top_documents(marked: DataFrame) -> list[dict[str, Any]]:
    """The documents with the most bytes in the snapshot: ``doc_id``, ``passages``, ``text_bytes``."""
    kept = marked.where("reason IS NULL").groupBy("doc_id")
    sums = kept.agg(F.count("*").alias("passages"), F.sum(F.octet_length("text")).alias("text_bytes"))
    return [row.asDict() for row in sums.orderBy(F.desc("text_bytes"), "doc_id").limit(TOP_SOURCES).collect()]


def facts(
    counted: Funnel,
    tallied: tally.Tally,
    sources: list[Source],
    marked: DataFrame,
    changes: list[dict[str, str | None]],
    mixed: list[dict[str, Any]],
) -> CorpusFacts:
    """The facts of the manifest and the card, besides rows and drops."""
    return CorpusFacts(
        documents=counted.documents,
        documents_dropped=counted.dropped_documents,
        files=sum(len(source.files) for source in sources),
        raw_bytes=sum(source.total_bytes for source in sources),
        files_left_out=[name for source in sources for name in source.left_out],
        passages=counted.passages,
        text_bytes=counted.text_bytes,
        content_digests=dict(sorted(counted.digests.items())),
        estimated_tokens=counted.text_bytes // BYTES_PER_TOKEN,
        examples=[Example.model_validate(example) for example in counted.examples],
        changes=[Change.model_validate(change) for change in changes],
        clusters=counted.clusters,
        lengths=counted.lengths,
        placeholders=tallied.placeholders,
        characters=tallied.characters(counted.kept_chars, counted.dropped_chars),
        raw=tallied.raw,
        top_documents=[TopDocument.model_validate(document) for document in top_documents(marked)],
        sources=[MixedSource.model_validate(source) for source in mixed],
    )


def card(counted: Funnel, facts: CorpusFacts, config: CorpusConfig) -> bytes:
    """The card as JSON: facts, counts and settings."""
    settings = config.model_dump(mode="json", exclude=LOCATIONS)
    told = facts.told()
    everything = {
        "raw": told.get("raw"),
        **told,
        "rows": counted.rows,
        "dropped": counted.dropped,
        "settings": settings,
    }
    return json.dumps(everything, indent=2, ensure_ascii=False).encode()
