"""The Ray Data pipeline: read and tokenise → actor pool with the model → decode and write, a shard at a time."""

import contextlib
import pickle
import warnings
from collections.abc import Callable
from collections.abc import Generator as Yields
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from handoff.errors import EngineUnavailable
from handoff.job import log
from handoff.tokenizer import ModelTokenizer
from inference.attempts import restarts
from inference.config import InferenceConfig
from inference.generator import Generator, failure
from inference.pool import ended_afterwards
from inference.prompt_rows import PromptRows
from inference.scoring import finish_scores
from inference.shards import Answers, Shard, remaining, shard_rows
from inference.summary import Summary
from inference.text_stages import ModelReference, Renderer, finish

if TYPE_CHECKING:
    from ray.data import Dataset

# The CPU stages take no CPU slot. A pool of actors that fills the cluster holds every slot until the end, so a
# stage that waits for one would wait for ever: the actors for its rows, it for their slots. Tokenising a batch takes
# milliseconds where generating takes seconds, so a few tasks at a time (see ``cpu_stage_options``) keep the actors fed.
CPU_STAGE_SLOTS = 0


@dataclass(frozen=True)
class Task:
    """What is to be answered, by which model, and where the answers go."""

    prompts: PromptRows
    model: ModelReference
    positions: int | None  # longest sequence that the model allows; None where unknown
    config: InferenceConfig
    answers: Answers


def answer_all(task: Task, on_shard: Callable[[Summary], None], stage: type[Generator] = Generator) -> int:
    """Answer all rows that no shard has yet, and write their shards.

    Shards that a dead actor or machine took along are missing at the end of a pass: the next pass has them, and others
    went on meanwhile.

    Args:
        on_shard: told of each shard that was written; an exception of it ends the work.
        stage: what the actors are.

    Returns:
        How often a process died on a shard, which another then tried again.

    Raises:
        EngineUnavailable: more deaths than ``max_actor_restarts``.
    """
    from ray.exceptions import RayError

    size = shard_rows(task.prompts.count, task.config)
    before, lost = restarts(task.answers), 0
    most = task.config.max_actor_restarts
    while todo := remaining(task.answers.done(), task.prompts.count, size):
        written = 0
        try:
            # A death takes along what its actor had in hand: two shards at most.
            with contextlib.closing(run_pass(task, todo, 2 * most - lost, stage)) as summaries:
                for summary in summaries:
                    written += 1
                    on_shard(summary)
        except RayError as error:
            if restarts(task.answers) == before:
                raise
            raise too_many_deaths(most) from error
        if restarts(task.answers) - before > most:
            raise too_many_deaths(most)
        if (missing := len(todo) - written) > 0:
            lost += missing
            log.info("%d of %d shards were lost with their processes: they are answered again", missing, len(todo))
    return restarts(task.answers) - before


def too_many_deaths(most: int) -> EngineUnavailable:
    return EngineUnavailable(
        f"processes of model replicas died again and again (inference.max_actor_restarts is {most}). What is written "
        "stays. Remedy: look into the engine logs whether memory ran out, or whether many rows kill them; rerun to go on"
    )


def run_pass(task: Task, todo: list[Shard], losses: int, stage: type[Generator]) -> Yields[Summary, None, None]:
    """Run the pipeline once over shards; yields a summary of each as soon as it is written."""
    tokenizer = ModelTokenizer.of_directory(task.model.directory())
    options = cpu_stage_options(task.config)
    read = Read(task.prompts, Renderer.of(task.model.directory(), task.config, task.positions))
    write = Write(task.answers, tokenizer, task.config)
    given = {"model": task.model, "tokenizer": tokenizer, "config": task.config, "answers": task.answers}
    tokenised = dataset_of(todo, losses).map_batches(read, **options)
    batch: Any
    with ended_afterwards() as members:
        answered = on_actors(tokenised, stage, given | {"members": members}, task.config, len(todo))
        for batch in answered.map_batches(write, **options).iter_batches(batch_size=None, batch_format="pyarrow"):
            if "failure" in batch.column_names:
                raise pickle.loads(batch["failure"][0].as_py())
            for text in batch["summary"].to_pylist():
                yield Summary.model_validate_json(text)


@dataclass(frozen=True)
class Read:
    """The stage before the model: shards → rows with token ids."""

    prompts: PromptRows
    renderer: Renderer

    def __call__(self, shards: pa.Table) -> pa.Table:
        start, stop = shards["start"][0].as_py(), shards["stop"][0].as_py()
        try:
            return self.renderer(self.prompts.read(start, stop))
        except Exception as error:
            return failure(error)


@dataclass(frozen=True)
class Write:
    """The stage after the model: answers → a written shard and its summary."""

    answers: Answers
    tokenizer: ModelTokenizer
    config: InferenceConfig

    def __call__(self, batch: pa.Table) -> pa.Table:
        if "failure" in batch.column_names:
            return batch
        try:
            if self.config.task == "score":
                rows = finish_scores(batch, self.config)
            else:
                rows = finish(batch, self.tokenizer, self.config.carry, self.config.stop)
            shard = Shard(batch["place"][0].as_py(), batch["place"][-1].as_py() + 1)
            summary = Summary.of(shard, batch, rows)
            self.answers.write(shard, rows, summary.model_dump(mode="json"))
        except Exception as error:
            return failure(error)
        return pa.table({"summary": [summary.model_dump_json()]})


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


def dataset_of(shards: list[Shard], losses: int) -> "Dataset":
    """A dataset of one block per shard: blocks are what Ray Data hands to actors, and it splits none of them."""
    import ray

    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = False  # shards have their places in their names
    context.max_errored_blocks = max(losses, 0)
    with ray.data.DataContext.current(context):  # the dataset keeps this context
        return ray.data.from_blocks([pa.table({"start": [s.start], "stop": [s.stop]}) for s in shards])


def on_actors(
    dataset: "Dataset", stage: Callable[..., Any], arguments: dict[str, Any], config: InferenceConfig, shards: int
) -> "Dataset":
    """Map shards over a fixed pool of actors that start the class ``stage`` once each.

    Ray starts a dead actor again as often as it takes, and tries no shard a second time: the next pass does, so that
    no shard waits for a machine that does not come back. :func:`answer_all` bounds the deaths.
    """
    from ray.data import ActorPoolStrategy

    actors = min(config.num_actors, shards)
    # A second shard in hand keeps an actor from waiting; of a short list, one actor would take what another could.
    in_flight = 2 if shards >= 4 * actors else 1
    with warnings.catch_warnings():  # Ray deprecates passing these here, and 2.60 has no other place for them
        warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
        options: dict[str, Any] = {"max_restarts": -1, "max_task_retries": 0}
        return dataset.map_batches(
            stage,
            fn_constructor_kwargs=arguments,
            batch_size=None,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=in_flight),
            num_cpus=config.cpus_per_actor,
            num_gpus=config.actors.gpus,
            **options,
        )
