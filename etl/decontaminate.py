"""Decontamination: training passages that share a long run of words with an evaluation text are dropped."""

from typing import Any

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from etl.config import DecontaminationConfig
from etl.dedup.duplicates import broadcast_if_small, passage_id, words_of
from etl.dedup.minhash import containing, sets_of
from etl.read.documents import read_all
from etl.read.source import Source
from handoff.errors import SourceError

CONTAMINATED = "contaminated"
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
    words = texts.select(F.lit(0).cast("long").alias("id"), words_of(F.col("text")))
    hashes = (
        words.mapInArrow(sets_of(n), "id long, ngrams array<long>").select(F.explode("ngrams").alias("h")).distinct()
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
        references: frames of ``text``; the held-out passages are added if the configuration says so.
    """
    texts = list(references)
    if config.held_out:
        texts.append(passages.where("reason IS NULL AND split <> 'train'").select("text"))
    known = [k for t in texts if len(k := known_ngrams(t, config.ngram_words))]
    if not known:
        return passages
    everything = np.unique(np.concatenate(known))
    train = passages.where("reason IS NULL AND split = 'train'")
    words = train.select(passage_id(F.col("row_id")).alias("id"), words_of(F.col("text")))
    hits = words.mapInArrow(containing(config.ngram_words, everything), "id long").distinct().localCheckpoint()
    found = hits.select(F.col("id").alias("_id"), F.lit(CONTAMINATED).alias("_hit"))
    marked = passages.withColumn("_id", passage_id(F.col("row_id"))).join(
        broadcast_if_small(found, hits.count()), "_id", "left"
    )
    return marked.withColumn("reason", F.coalesce("reason", "_hit")).drop("_id", "_hit")
