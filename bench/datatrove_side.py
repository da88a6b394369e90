"""datatrove's MinHash de-duplication on the benchmark's documents; runs in an environment of its own.

Usage: python datatrove_side.py DOCS OUT WORKERS. Prints datatrove's log; writes the kept documents to OUT/kept.
"""

import sys
from pathlib import Path

from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
)
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers.jsonl import JsonlWriter
from datatrove.utils.hashing import HashConfig


def main(docs: str, out: str, workers: int) -> None:
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8, hash_config=HashConfig(precision=64))
    tasks = max(workers, len(list(Path(docs).glob("*.jsonl"))))

    def reader() -> JsonlReader:
        return JsonlReader(docs, text_key="text", id_key="id")

    signatures = LocalPipelineExecutor(
        pipeline=[reader(), MinhashDedupSignature(output_folder=f"{out}/signatures", config=config, language="eng")],
        tasks=tasks,
        workers=workers,
        logging_dir=f"{out}/logs/1",
    )
    buckets = LocalPipelineExecutor(
        pipeline=[MinhashDedupBuckets(f"{out}/signatures", f"{out}/buckets", config=config)],
        tasks=config.num_buckets,
        workers=workers,
        logging_dir=f"{out}/logs/2",
        depends=signatures,
    )
    cluster = LocalPipelineExecutor(
        pipeline=[MinhashDedupCluster(f"{out}/buckets", f"{out}/remove_ids", config=config, save_cluster_id=True)],
        tasks=1,
        logging_dir=f"{out}/logs/3",
        depends=buckets,
    )
    LocalPipelineExecutor(
        pipeline=[
            reader(),
            MinhashDedupFilter(
                f"{out}/remove_ids", exclusion_writer=JsonlWriter(f"{out}/removed"), load_cluster_ids=False
            ),
            JsonlWriter(f"{out}/kept", compression=None),
        ],
        tasks=tasks,
        workers=workers,
        logging_dir=f"{out}/logs/4",
        depends=cluster,
    ).run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
