"""The chain in Ray alone: Ray Data; Ray Train fed by Ray Data; an actor pool of Ray Data."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from comparison.chain import rows as kernels
from comparison.chain.clock import Clock
from comparison.chain.completer import Completer, prompts_of
from comparison.chain.settings import Chain
from comparison.chain.told import tell
from comparison.chain.worker import deal_of, passages_of, train_rank
from comparison.digest import files
from comparison.form import Work
from inference.pipeline import batch_rows, blocks_of, on_actors
from training.data.ingest import BlockFeeder, Cursor, Passages

RESTARTS = 2


def run(work: Work) -> dict[str, float]:
    """All three parts in the Ray that there is."""
    chain, clock = Chain.of(work), Clock()
    shutil.rmtree(chain.scratch, ignore_errors=True)
    with clock.part("etl"):
        rows = etl(work, chain.rows)
    with clock.part("train"):
        train(chain, passages_of(chain, rows))
    with clock.part("predict"):
        predictions = predict(chain, rows)
    with clock.part("compare"):
        tell(chain, rows, predictions, work.output)
    return clock.figures


def etl(work: Work, directory: Path) -> list[str]:
    """Clean, filter, drop exact duplicates, order all rows; returns the files in order."""
    import ray

    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    arrow: dict[str, Any] = {"batch_format": "pyarrow", "batch_size": None}
    rows = (
        ray.data.read_parquet(work.documents, columns=["document_id", "text"])
        .map_batches(kernels.cleaned, **arrow)
        .map_batches(kernels.keyed, **arrow)
        .repartition(work.cores * 2, keys=["key"])
        .map_batches(kernels.first_of_each, **arrow)
        .map_batches(partial(kernels.ordered_key, seed=work.seed), **arrow)
        .sort("order")
        .map_batches(kernels.corpus_rows, **arrow)
    )
    rows.write_parquet(str(directory))
    return [str(path) for path in files(directory)]


def train(chain: Chain, passages: Passages) -> None:
    """Two workers of Ray Train; one that dies is started again with the other, and both go on from the checkpoint."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    config = chain.training
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
    """Completions of the prompts: schema ``handoff.schema.PREDICTIONS``."""
    prompts, config = prompts_of(chain, rows), chain.inference
    size = batch_rows(len(prompts), config)
    completed = on_actors(
        blocks_of(prompts, size),
        Completer,
        {"chain": chain},
        actors=config.num_actors,
        rows=size,
        cpus=config.cpus_per_actor,
        gpus=0,
    )
    return pa.concat_tables(completed.iter_batches(batch_size=None, batch_format="pyarrow"))
