"""Join documents with their metadata by id: wide rows with narrow ones, an inner join that loses one row in ten.

Either both sides are shuffled, as they must be where neither fits into a worker, or the narrow side is sent to all.
"""

import numpy as np
import pyarrow as pa

from comparison.form import Form, Stage, Work
from comparison.stages import oracles
from comparison.stages.shared.tables import (
    blocks,
    read_polars,
    read_ray,
    read_spark,
    write_polars,
    write_ray,
    write_spark,
)


def joined(documents: pa.Table, metadata: pa.Table) -> pa.Table:
    """The rows of ``documents`` with the columns of ``metadata``, which is sorted by its unique ``document_id``."""
    ids, known = documents["document_id"].to_numpy(), metadata["document_id"].to_numpy()
    place = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    found = known[place] == ids
    others = metadata.drop_columns(["document_id"]).take(place[found])
    rows = documents.filter(pa.array(found))
    for name in others.column_names:
        rows = rows.append_column(name, others[name])
    return rows


def spark_broadcast(work: Work) -> None:
    from pyspark.sql import functions as F

    metadata = read_spark(work, work.metadata)
    write_spark(read_spark(work, work.documents).join(F.broadcast(metadata), "document_id"), work)


def spark_sort_merge(work: Work) -> None:
    metadata = read_spark(work, work.metadata).hint("merge")
    write_spark(read_spark(work, work.documents).join(metadata, "document_id"), work)


def ray_join(work: Work) -> None:
    import ray

    default = ray.data.DataContext.get_current().default_hash_shuffle_parallelism
    parts = blocks(work) if work.tuned else default
    metadata = read_ray(work, work.metadata)
    documents = read_ray(work, work.documents)
    write_ray(documents.join(metadata, "inner", parts, on=("document_id",)), work)


def ray_broadcast(work: Work) -> None:
    import pyarrow.parquet as pq
    import ray

    metadata = ray.put(pq.read_table(work.metadata).sort_by("document_id").combine_chunks())

    def with_metadata(documents: pa.Table) -> pa.Table:
        return joined(documents, ray.get(metadata))

    write_ray(read_ray(work, work.documents).map_batches(with_metadata, batch_format="pyarrow"), work)


def polars(work: Work) -> None:
    write_polars(read_polars(work.documents).join(read_polars(work.metadata), on="document_id"), work)


STAGE = Stage(
    name="join",
    title="Join documents with metadata",
    question="How fast is a join that shuffles both sides, and one that sends the narrow side to all?",
    forms=(
        Form("spark", "broadcast", spark_broadcast),
        Form("spark", "sort-merge", spark_sort_merge),
        Form("ray", "join", ray_join),
        Form("ray", "broadcast", ray_broadcast),
        Form("polars", "one process", polars, tunable=False),
    ),
    oracle=oracles.joined,
)
