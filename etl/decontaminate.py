"""Decontamination: passages that share a long run of words with an evaluation text or a held-out passage are dropped.

Words consist of letters, marks and digits alone: quotation marks of e-mail and marks of Markdown do not hide a run.
"""

import functools
import math
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from etl.config import DecontaminationConfig
from etl.dedup.duplicates import broadcast_if_small, passage_id, words_of
from etl.dedup.minhash import LETTERS, containing, sets_of
from etl.read.documents import read_all
from etl.read.source import Source
from handoff.errors import SourceError

CONTAMINATED = "contaminated"
HELD_OUT = "shared_with_held_out"
BOILERPLATE = 10  # held-out passages: a licence's header, which has as many, gives nothing away
BYTES_PER_WORD = 6
MOST_HELD_OUT = (
    10_000_000  # n-grams, 80 MB in the driver and in each Python worker; of more every second, third, ... is taken
)
MAX_NGRAMS = 50_000_000  # of 8 bytes each: 400 MB in the driver and once in each Python worker


def references(spark: SparkSession, sources: list[Source], max_lost_share: float) -> list[DataFrame]:
    """The usable texts of the sources: one frame of ``text string`` per source.

    Raises:
        SourceError: more than ``max_lost_share`` of a source's bytes could not be read.
    """
    found = []
    for source in sources:
        read = read_all(spark, [source])
        first = F.min(F.when(F.col("lost_bytes") > 0, F.col("doc_id")))
        lost, total, place = read.agg(F.sum("lost_bytes"), F.sum("raw_bytes"), first).collect()[0]
        if lost > max_lost_share * total:
            raise SourceError(
                f"{lost:,} of {total:,} bytes of {source.settings.uri} could not be read ({place}), more than "
                "corpus.max_lost_share. Remedy: repair or exclude these evaluation files, or raise the limit"
            )
        found.append(read.where("reason IS NULL").select("text"))
    return found


def known_ngrams(texts: DataFrame, n: int) -> np.ndarray[Any, Any]:
    """Sorted distinct uint64 hashes of the word n-grams of ``text``; a shorter text is one n-gram.

    Raises:
        SourceError: there are more than MAX_NGRAMS.
    """
    words = texts.select(F.lit(0).cast("long").alias("id"), words_of(F.col("text"), signs=""))
    hashes = (
        words.mapInArrow(sets_of(n, LETTERS), "id long, ngrams array<long>")
        .select(F.explode("ngrams").alias("h"))
        .distinct()
    )
    table = hashes.limit(MAX_NGRAMS + 1).toArrow()
    if table.num_rows > MAX_NGRAMS:
        raise SourceError(
            f"the evaluation files have more than {MAX_NGRAMS:,} runs of {n} words. "
            "Remedy: name fewer files in corpus.decontamination.files"
        )
    return np.sort(table.column("h").to_numpy().view(np.uint64))


def mark_contaminated(passages: DataFrame, references: list[DataFrame], config: DecontaminationConfig) -> DataFrame:
    """Set ``reason`` of train passages that share ``ngram_words`` words in a row with a reference.

    Args:
        passages: ``text, row_id, reason, split`` and more, persisted; rows with a reason are skipped.
        references: frames of ``text``.
    """
    known = [k for texts in references if len(k := known_ngrams(texts, config.ngram_words))]
    if not known:
        return passages
    train = passages.where("reason IS NULL AND split = 'train'")
    return _marked(passages, _hits(train, config.ngram_words, np.unique(np.concatenate(known))), CONTAMINATED)


def mark_held_out(passages: DataFrame, n: int) -> DataFrame:
    """Set ``reason`` of passages that share ``n`` words in a row with one of a more held-out split.

    Train passages are held against validation and test, validation against test. Duplicates are found passage by passage;
    where a document is a part of another one, or has a paragraph more in front, its passages are cut elsewhere and are no
    duplicates. Runs that BOILERPLATE held-out passages have do not count.

    Args:
        passages: ``text, row_id, reason, split`` and more, persisted; rows with a reason are skipped.
        n: words in a row; 0 for no rule.
    """
    held = passages.where("reason IS NULL AND split <> 'train'")
    size = held.agg(F.sum(F.octet_length("text"))).collect()[0][0] if n else None
    if not size:
        return passages
    every = max(1, math.ceil(size / BYTES_PER_WORD / MOST_HELD_OUT))
    words = held.select((F.col("split") == "test").cast("long").alias("id"), words_of(F.col("text"), signs=""))
    ngrams = words.mapInArrow(sets_of(n, LETTERS, short=False), "id long, ngrams array<long>")
    counted = (
        ngrams.select("id", F.explode("ngrams").alias("h"))
        .where(F.pmod("h", F.lit(every)) == 0)
        .groupBy("h")
        .agg(F.max("id").alias("tested"), F.count("*").alias("passages"))
        .where(F.col("passages") < BOILERPLATE)
        .select("h", "tested")
        .toArrow()
    )
    all_held = counted["h"].to_numpy().view(np.uint64)
    tested = all_held[counted["tested"].to_numpy() == 1]
    hits = [
        _hits(passages.where(f"reason IS NULL AND split = '{split}'"), n, np.sort(known))
        for split, known in (("train", all_held), ("validation", tested))
        if len(known)
    ]
    return _marked(passages, functools.reduce(DataFrame.union, hits), HELD_OUT) if hits else passages


def _hits(passages: DataFrame, n: int, known: np.ndarray[Any, Any]) -> DataFrame:
    """``_id`` of the passages with an n-gram in ``known``, sorted hashes."""
    words = passages.select(passage_id(F.col("row_id")).alias("id"), words_of(F.col("text"), signs=""))
    return words.mapInArrow(containing(n, known), "id long").select(F.col("id").alias("_id"))


def _marked(passages: DataFrame, hits: DataFrame, reason: str) -> DataFrame:
    found = hits.distinct().withColumn("_hit", F.lit(reason)).localCheckpoint()
    numbered = passages.withColumn("_id", passage_id(F.col("row_id")))
    marked = numbered.join(broadcast_if_small(found, found.count()), "_id", "left")
    return marked.withColumn("reason", F.coalesce("reason", "_hit")).drop("_id", "_hit")
