"""The Ray Data pipeline: CPU stage → actor pool with the model → CPU stage, streamed in batches."""

import warnings
from collections.abc import Callable
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from handoff.tokenizer import ModelTokenizer
from inference.config import InferenceConfig
from inference.generator import Generator
from inference.text_stages import ModelReference, finish, render, render_arguments

if TYPE_CHECKING:
    from ray.data import Dataset

# An actor that dies (out of memory, a crash in native code) is started anew this often, and a batch is tried again
# this often; Ray Data's default for both is without end, so that one poison row would loop for ever.
RETRIES = 2

# The CPU stages take no CPU slot. A pool of actors that fills the cluster holds every slot until the end, so a
# stage that waits for one would wait for ever: the actors for its rows, it for their slots. Tokenising a batch takes
# milliseconds where generating takes seconds, so a few tasks at a time (see ``cpu_stage_options``) keep the actors fed.
CPU_STAGE_SLOTS = 0

ROWS_PER_FILE = 50_000  # least rows in a file of predictions, some 50 MB


def batch_rows(rows: int, config: InferenceConfig) -> int:
    """Rows per batch: at most ``batch_size``, and as even as can be, so that no actor waits for another's last batch.

    24 rows, two actors, batch_size 8: four batches of 6 rather than three of 8, one actor idle during the last.
    """
    rounds = ceil(rows / (config.num_actors * config.batch_size))
    return ceil(rows / (config.num_actors * rounds))


def predict(
    prompts: pa.Table,
    model: ModelReference,
    positions: int | None,
    config: InferenceConfig,
    baseline: dict[str, str | None],
    counter: Any = None,
) -> "Dataset":
    """The lazy dataset of predictions, schema ``handoff.schema.PREDICTIONS``, in the order of the prompts.

    Args:
        prompts: schema ``prompts.PROMPTS``. They pass through this process; Ray's object store spills to disk.
        model: the model that answers.
        positions: longest sequence that the model allows; None where unknown.
        baseline: completions for the column ``baseline``, by id.
        counter: the ``progress.Counter`` actor.
    """
    rows = batch_rows(len(prompts), config)
    tokenizer = ModelTokenizer.of_directory(model.directory())
    tokenised = blocks_of(prompts, rows).map_batches(
        partial(render, **render_arguments(tokenizer, config, positions)), **cpu_stage_options(config)
    )
    return on_actors(
        tokenised,
        Generator,
        {"model": model, "tokenizer": tokenizer, "config": config, "counter": counter},
        actors=min(config.num_actors, ceil(len(prompts) / rows)),
        rows=rows,
        cpus=config.cpus_per_actor,
        gpus=config.actors.gpus,
    ).map_batches(partial(finish, tokenizer=tokenizer, baseline=baseline), **cpu_stage_options(config))


def cpu_stage_options(config: InferenceConfig) -> dict[str, Any]:
    """``map_batches`` arguments of a CPU stage: whole blocks, no slot, one task at a time per eight actors.

    More of them would only be more worker processes to start, each several seconds of CPU.
    """
    from ray.data import TaskPoolStrategy

    return {
        "batch_size": None,
        "batch_format": "pyarrow",
        "num_cpus": CPU_STAGE_SLOTS,
        "compute": TaskPoolStrategy(size=ceil(config.num_actors / 8)),
    }


def blocks_of(prompts: pa.Table, rows: int) -> "Dataset":
    """A dataset of one block per batch: blocks are what Ray Data hands to actors, and it splits none of them."""
    import ray

    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = True
    context.max_consecutive_actor_init_deaths = 0  # a death while loading has had its restarts already
    with ray.data.DataContext.current(context):  # the dataset keeps this context
        return ray.data.from_arrow([prompts.slice(start, rows) for start in range(0, len(prompts), rows)])


def on_actors(
    dataset: "Dataset",
    stage: Callable[..., Any],
    arguments: dict[str, Any],
    *,
    actors: int,
    rows: int,
    cpus: float,
    gpus: int,
) -> "Dataset":
    """Map batches over a fixed pool of actors that start the class ``stage`` once each, with bounded restarts."""
    from ray.data import ActorPoolStrategy

    options: dict[str, Any] = {"max_restarts": RETRIES, "max_task_retries": RETRIES}
    with warnings.catch_warnings():  # Ray deprecates passing these here, and 2.60 has no other place for them
        warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
        return dataset.map_batches(
            stage,
            fn_constructor_kwargs=arguments,
            batch_size=rows,
            batch_format="pyarrow",
            # One batch at a time: the default of several queues the batches of a short list on the first actor to be ready.
            compute=ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=1),
            num_cpus=cpus,
            num_gpus=gpus,
            **options,
        )
