"""The chain in Ray alone: Ray Data; Ray Train fed by Ray Data; an actor pool of Ray Data."""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa

from comparison.chain.clock import Clock
from comparison.chain.completer import Completer, prompts_of
from comparison.chain.dying import die_once
from comparison.chain.settings import BATCH_ROWS, Chain
from comparison.chain.told import tell
from comparison.chain.worker import deal_of, passages_of, train_rank
from comparison.digest import files
from comparison.form import Work
from comparison.stages.clean import clean_batch
from comparison.stages.deduplicate import first_of_each
from comparison.stages.order import keys_of
from comparison.stages.shared.tables import CODEC, LEVEL, blocks_in_order, collected, in_ray, read_ray, shuffled
from training.data.ingest import BlockFeeder, Cursor, Passages

RESTARTS = 2


def run(work: Work) -> dict[str, float]:
    """All three parts in the Ray that there is."""
    chain = Chain.of(work).fresh()
    clock = Clock(chain.retries)
    rows = clock.timed("etl", etl, work, chain, chain.rows)
    clock.timed("train", train, chain, passages_of(chain, rows))
    predictions = clock.timed("predict", predict, chain, rows)
    clock.timed("compare", tell, chain, rows, predictions, work.output)
    return clock.figures


def etl(work: Work, chain: Chain, directory: Path) -> list[str]:
    """Clean, filter, drop exact duplicates, order all rows; returns the files in order."""
    seed, mark = work.seed, chain.mark("etl")

    def with_key(table: pa.Table) -> pa.Table:
        die_once(mark)
        first = first_of_each(table, "text")
        return first.append_column("key", keys_of(first["document_id"], seed))

    with blocks_in_order():
        documents = read_ray(work, work.documents, "document_id", "text")
        cleaned = documents.map_batches(in_ray(clean_batch), batch_format="pyarrow")
        unique = shuffled(cleaned, work, "text").map_batches(with_key, batch_format="pyarrow", batch_size=None)
        rows = unique.sort("key").map_batches(corpus_rows, batch_format="pyarrow", batch_size=None)
        rows.write_parquet(str(directory), mode="overwrite", compression=CODEC, compression_level=LEVEL)
    return [str(path) for path in files(directory)]


def corpus_rows(table: pa.Table) -> pa.Table:
    """Rows of ``handoff.schema.CORPUS``, a document a row."""
    ids, zeros = table["document_id"].cast(pa.string()), pa.array([0] * len(table), pa.int32())
    return pa.table({"row_id": ids, "doc_id": ids, "position": zeros, "text": table["text"]})


def train(chain: Chain, passages: Passages) -> None:
    """Two workers of Ray Train; one that dies is started again with the other, and both go on from the checkpoint."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    config = chain.training
    os.environ["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"  # one node has nothing to move to: saves 5 s of CPU
    trainer = TorchTrainer(
        train_in_worker,
        train_loop_config={"chain": chain, "passages": passages},
        torch_config=TorchConfig("gloo"),
        scaling_config=ScalingConfig(
            num_workers=config.num_workers, resources_per_worker={"CPU": config.cpus_per_worker}
        ),
        run_config=RunConfig(
            name="chain", storage_path=str(chain.scratch / "ray"), failure_config=FailureConfig(max_failures=RESTARTS)
        ),
    )
    trainer.fit()


def train_in_worker(settings: dict[str, Any]) -> None:
    """Body of a rank under Ray Train; one actor packs what Ray Data tokenises, and deals it to the ranks."""
    import ray
    from ray.train.collective import broadcast_from_rank_zero

    chain, passages = settings["chain"], settings["passages"]
    rank = ray.train.get_context().get_world_rank()

    def feed(begin: int, cursor: Cursor) -> Any:
        actor = ray.remote(num_cpus=0, scheduling_strategy="DEFAULT")(BlockFeeder)
        own = actor.remote(passages, deal_of(chain), begin, cursor) if rank == 0 else None
        feeder = broadcast_from_rank_zero(own)
        ahead = {begin: feeder.share.remote(begin, rank)}

        def share_of(step: int) -> Any:
            if step + 1 < chain.steps:
                ahead[step + 1] = feeder.share.remote(step + 1, rank)
            return ray.get(ahead.pop(step))

        return share_of

    train_rank(chain, rank, feed)


def predict(chain: Chain, rows: list[str]) -> pa.Table:
    """Completions of the prompts: columns id and completion."""
    import ray

    config = chain.inference
    completed = ray.data.from_arrow(prompts_of(chain, rows)).map_batches(
        Completer,
        fn_constructor_args=(chain,),
        batch_size=BATCH_ROWS,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=config.num_actors),
        num_cpus=config.cpus_per_actor,
        max_restarts=RESTARTS,
        max_task_retries=RESTARTS,
    )
    return collected(completed)
