"""Pairs of documents that share a band of MinHash: heavy work per row, then many small keys to bring together.

The signatures are those of the project's own ETL, by the same function on both engines. Texts go in as they are: what
the ETL's SQL does to other scripts than ASCII beforehand is left out on both sides. Keys are brought together by the
engine's shuffle or, as the ETL does for fewer than 500,000 passages, in the driver.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from comparison.form import Form, Stage, Work
from comparison.stages import oracles
from comparison.stages.shared.tables import (
    collected,
    read_ray,
    read_spark,
    shuffled,
    write_here,
    write_ray,
    write_spark,
)
from etl.dedup.config import DedupConfig
from etl.dedup.minhash import runs, signatures_of

SETTINGS = DedupConfig()
SIGNATURES = signatures_of(SETTINGS.ngram_words, SETTINGS.bands, SETTINGS.rows_per_band, SETTINGS.least_ngrams)
SIGNED = pa.schema([("document_id", pa.int64()), ("fingerprint", pa.binary()), ("keys", pa.list_(pa.int64()))])
PAIRS = pa.schema([("first", pa.int64()), ("second", pa.int64())])


def signatures(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """``document_id, fingerprint, keys`` of ``document_id, text``; the words are the text."""
    return SIGNATURES(batch.append_column("words", pa.nulls(batch.num_rows, pa.string())) for batch in batches)


def signed(documents: pa.Table) -> pa.Table:
    """``document_id, keys``, a key per band, of ``document_id, text``."""
    return pa.Table.from_batches(signatures(iter(documents.to_batches())), SIGNED).drop_columns(["fingerprint"])


def exploded(documents: pa.Table) -> pa.Table:
    """A row ``document_id, key`` for each of the keys of ``document_id, keys``."""
    keys = documents["keys"].combine_chunks()
    ids = np.repeat(documents["document_id"].to_numpy(), keys.value_lengths().to_numpy())
    return pa.table({"document_id": ids, "key": keys.flatten()})


def pairs_of(rows: pa.Table) -> pa.Table:
    """Distinct pairs ``first < second`` of rows ``document_id, key``: each of a bucket with its smallest and its neighbour."""
    ids, keys = rows["document_id"].to_numpy(), rows["key"].to_numpy()
    order = np.lexsort((ids, keys))
    ids, keys = ids[order], keys[order]
    place = np.arange(len(ids))
    start = np.maximum.accumulate(np.where(runs(keys), place, 0)) if len(ids) else place
    rest = place > start
    first = np.concatenate([ids[start[rest]], ids[place[rest] - 1]])
    return distinct(pa.table([first, np.tile(ids[rest], 2)], schema=PAIRS))


def distinct(pairs: pa.Table) -> pa.Table:
    """Each pair ``first < second`` once."""
    pairs = pairs.group_by(["first", "second"]).aggregate([])
    return pairs.filter(pc.less(pairs["first"], pairs["second"]))


def spark_shuffle(work: Work) -> None:
    from etl.dedup.collisions import band_pairs

    write_spark(band_pairs(_signed_by_spark(work).withColumnRenamed("document_id", "_id")), work)


def spark_driver(work: Work) -> None:
    write_here(pairs_of(exploded(_signed_by_spark(work).toArrow())), work)


def _signed_by_spark(work: Work) -> Any:
    documents = read_spark(work, work.documents, "document_id", "text")
    schema = "document_id long, fingerprint binary, keys array<long>"
    return documents.mapInArrow(signatures, schema).drop("fingerprint")


def ray_shuffle(work: Work) -> None:
    keys = _signed_by_ray(work).map_batches(exploded, batch_format="pyarrow")
    pairs = shuffled(keys, work, "key").map_batches(pairs_of, batch_size=None, batch_format="pyarrow")
    once = shuffled(pairs, work, "first", "second").map_batches(distinct, batch_size=None, batch_format="pyarrow")
    write_ray(once, work)


def ray_driver(work: Work) -> None:
    write_here(pairs_of(exploded(collected(_signed_by_ray(work)))), work)


def _signed_by_ray(work: Work) -> Any:
    documents = read_ray(work, work.documents, "document_id", "text")
    return documents.map_batches(signed, batch_format="pyarrow")


STAGE = Stage(
    name="near_duplicates",
    title="Near-duplicate pairs (MinHash)",
    question="How fast is heavy work per row, followed by a shuffle of many small keys?",
    forms=(
        Form("spark", "shuffle", spark_shuffle),
        Form("spark", "driver", spark_driver, kernel="pairs_of"),
        Form("ray", "shuffle", ray_shuffle, kernel="pairs_of"),
        Form("ray", "driver", ray_driver, kernel="pairs_of"),
    ),
    oracle=oracles.near_pairs,
)
