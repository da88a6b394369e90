"""A cache of MinHash signatures beside a snapshot: the next snapshot computes those of new passages only.

A signature is looked up by ``row_id``, a digest of its passage. Whatever changed in files, settings or order, a cached
signature equals the one that would be computed. Missing ones are computed.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from etl.dedup.config import DedupConfig
from etl.dedup.duplicates import passage_id
from etl.session import engine_path
from handoff.artifact import Artifact, load_manifest, open_artifact
from handoff.errors import ArtifactError
from handoff.job import log
from handoff.publish import Staging, staging
from handoff.store import Store

SCHEMA = pa.schema(
    [
        pa.field("row_id", pa.string()),
        pa.field("fingerprint", pa.binary()),
        pa.field("keys", pa.list_(pa.field("element", pa.int64()))),
    ]
)
BYTES_PER_FILE = 1 << 30  # of raw text; its signatures take about a tenth
DETERMINES = ("ngram_words", "bands", "rows_per_band", "min_jaccard")  # settings of DedupConfig that change a signature


@contextlib.contextmanager
def signature_writer(
    store: Store, id_config: dict[str, Any], parents: list[Artifact], config: DedupConfig, raw_bytes: int
) -> Iterator[Callable[[DataFrame], None]]:
    """A function that writes signatures. They are published when the block ends, and discarded when it fails.

    Args:
        id_config: the settings that the snapshot's id follows from, besides its parents.
    """
    if not config.reuses_signatures:
        yield lambda signed: None
        return
    with staging(store, "signatures", id_config, parents) as place:
        yield lambda signed: _write(signed, place, raw_bytes)
        place.publish(schema=SCHEMA)


def _write(signed: DataFrame, place: Staging, raw_bytes: int) -> None:
    """Write ``row_id, fingerprint, keys`` of every passage, each ``row_id`` once."""
    once = signed.where(F.col("_id") == passage_id(F.col("row_id"))).select(*SCHEMA.names)
    files = 1 + raw_bytes // BYTES_PER_FILE
    once.coalesce(files).write.parquet(engine_path(place.uri("all")), mode="append", compression="zstd")


def nearest(store: Store, id_config: dict[str, Any], parents: list[Artifact]) -> Artifact | None:
    """The cached signatures whose raw files share most bytes with those of ``parents``; None if none share any.

    Args:
        id_config: of the snapshot to be made; code version and settings of signatures must be the same.
        parents: its raw artifacts.
    """
    wanted = {f.sha256: f.bytes for p in parents for f in p.manifest.files}
    best: tuple[int, str] = (0, "")
    for path in store.files("signatures"):
        if not path.endswith("/_MANIFEST.json"):
            continue
        identity = path.split("/")[1]
        try:
            manifest = load_manifest(store, identity)
            if not _compatible(manifest.config, id_config):
                continue
            files = [f for p in manifest.parents for f in load_manifest(store, p.id).files]
        except ArtifactError:  # it or a parent was deleted or is damaged: computing again costs only time
            continue
        best = max(best, (sum(wanted.get(f.sha256, 0) for f in files), identity))
    if not best[0]:
        return None
    try:
        return open_artifact(store, best[1])
    except ArtifactError as error:
        log.info("  cached signatures are not used: %s", error)
        return None


def _compatible(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one["code_version"] == other["code_version"] and all(
        one["dedup"][name] == other["dedup"][name] for name in DETERMINES
    )


def read_signatures(spark: SparkSession, artifact: Artifact) -> DataFrame:
    """``row_id string, fingerprint binary, keys array<long>`` of cached signatures."""
    paths = [engine_path(path) for path in artifact.files()]
    return spark.read.schema("row_id string, fingerprint binary, keys array<long>").parquet(*paths)
