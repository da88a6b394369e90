"""The model stage: an actor that loads the model once and answers shard after shard."""

import gc
import json
import os
import pickle
import sys
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from engines.alone import Limits
from handoff.causes import safe_text
from handoff.errors import InfrastructureError
from handoff.tokenizer import ModelTokenizer
from inference.attempts import Attempts, Starts
from inference.config import InferenceConfig
from inference.engines.base import Answer
from inference.engines.load import load_engine
from inference.engines.sampling import row_seed
from inference.pool import join
from inference.quarantine import described
from inference.shards import Answers, Shard
from inference.text_stages import ModelReference

DEATHS_LOADING = 2  # in a row, after which an actor is given up; Ray would start it again for ever
EXIT_UNUSABLE = 70  # of a process whose device or engine answers nothing any more; EX_SOFTWARE of sysexits.h

ANSWERS = pa.list_(
    pa.struct(
        [
            ("token_ids", pa.list_(pa.int32())),
            ("finish_reason", pa.string()),
            ("logprobs", pa.list_(pa.float32())),
        ]
    )
)


class Generator:
    """Answers tables of tokenised prompts; one instance per actor.

    An error while loading is handed on with the first table: raised here, Ray would wait for an actor that never comes.

    Args:
        model: the model artifact.
        tokenizer: says which tokens end a completion.
        config: lengths, sampling, device.
        answers: where tries are noted, so that a row that kills this process is found; None to note nothing.
        members: handle of the ``pool.Members`` actor; None outside of a pool.
    """

    def __init__(
        self,
        model: ModelReference,
        tokenizer: ModelTokenizer,
        config: InferenceConfig,
        answers: Answers | None = None,
        members: Any = None,
    ) -> None:
        if members is not None:
            join(members)
        self._config, self._answers = config, answers
        self._ended, self._waited_output = time.time(), 0.0
        self._broken: Exception | None = None
        try:
            starts = Starts(answers, _actor_id()) if answers else None
            if starts and (before := starts.begin()) >= DEATHS_LOADING:
                raise InfrastructureError(
                    f"the process of a model replica died {before} times while it loaded the model. Remedy: look "
                    "whether the model fits into the memory of a replica"
                )
            self._engine = load_engine(config, model.directory(), tokenizer)
            if starts:
                starts.loaded()
        except Exception as error:
            if answers is None:
                raise
            self._broken = error

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """:meth:`answer`, and what the time between tables went into."""
        waited_input = time.time() - self._ended
        if self._broken is not None:
            yield failure(self._broken)
            return
        if "failure" in batch.column_names:
            yield batch
            return
        try:
            answered = self.answer(batch)
        except Exception as error:  # not of rows: of the place where tries are noted, or of this code
            yield failure(error)
            return
        told = {"waited_input": waited_input, "waited_output": self._waited_output, "actor": _actor_id()}
        since = time.time()
        yield answered.replace_schema_metadata(
            {**(answered.schema.metadata or {}), **{k.encode(): str(v).encode() for k, v in told.items()}}
        )
        self._ended = time.time()
        self._waited_output = self._ended - since  # until the table was taken

    def answer(self, batch: pa.Table) -> pa.Table:
        """Answer the rows of a shard.

        Args:
            batch: the columns that :class:`text_stages.Renderer` gives.

        Returns:
            The batch with ``answers`` (list of ``ANSWERS``, null with an error) and ``seconds`` (float64, wall time of
            the batch that a row was answered in); ``error`` says why a row has none. The schema's metadata has the
            times of beginning and end and the seconds that the engine worked, what the engine does not do with this model, and
            how many batches there were, and would have been if it did.
        """
        begun = time.time()
        work = _Work(self._engine, self._config, batch, self._attempts(batch))
        work.run()
        told = {
            "begun": begun, "ended": time.time(), "busy": work.busy,
            "limits": json.dumps(self._engine.limits.told()), "batches": work.batches, "fewest_batches": work.fewest_batches,
        }  # fmt: skip
        at = batch.schema.get_field_index("error")
        return (
            batch.set_column(at, "error", pa.array(work.errors, pa.string()))
            .append_column("answers", pa.array(work.told(), ANSWERS))
            .append_column("seconds", pa.array(work.seconds, pa.float64()))
            .append_column("failed", pa.array([n in work.failed for n in range(len(batch))], pa.bool_()))
            .replace_schema_metadata({k.encode(): str(v).encode() for k, v in told.items()})
        )

    def _attempts(self, batch: pa.Table) -> Attempts | None:
        if self._answers is None:
            return None
        places = batch["place"]
        return Attempts.of(self._answers, Shard(places[0].as_py(), places[-1].as_py() + 1).name)


class _Work:
    """One shard being answered. Rows are numbered within it."""

    def __init__(self, engine: Any, config: InferenceConfig, batch: pa.Table, attempts: Attempts | None) -> None:
        self._engine, self._attempts = engine, attempts
        self._prompts: list[list[int] | None] = batch["prompt_ids"].to_pylist()
        given = "completion_ids" in batch.column_names  # the task is to score them
        self._completions: list[list[int]] | None = batch["completion_ids"].to_pylist() if given else None
        self._seeds = [row_seed(config.seed, name) for name in batch["id"].to_pylist()]
        self.errors: list[str | None] = batch["error"].to_pylist()
        self.answers: list[list[Answer] | None] = [None] * len(batch)
        self.seconds = [0.0] * len(batch)
        self.failed: set[int] = set()
        self.busy = 0.0
        self.batches = self.fewest_batches = 0

    def run(self) -> None:
        """Suspects first, so that another death costs little of this shard; then the others in the engine's batches."""
        if self._attempts:
            for row, deaths in self._attempts.given_up.items():
                self._give_up(row, f"the model's process died on this row {deaths} times")
            for rows in list(self._attempts.suspects):
                self._batch(rows)
        rest = [n for n, ids in enumerate(self._prompts) if ids and self.answers[n] is None and n not in self.failed]
        lengths = [len(self._prompts[n] or ()) for n in rest]
        groups = self._engine.batches(lengths)
        self.batches, self.fewest_batches = len(groups), len(self._engine.batches(lengths, Limits()))
        for group in groups:
            self._batch([rest[place] for place in group])
        if self._attempts:
            self._attempts.end()

    def _batch(self, rows: list[int]) -> None:
        """Answer rows together; after an exception in halves, down to the row at fault."""
        if self._attempts:
            self._attempts.begin(rows)
        start = time.monotonic()
        try:
            made = self._made(rows)
        except Exception as error:
            message = described(error)
            if self._attempts and unusable(error):
                print(f"this process ends, as nothing works in it any more: {message}", file=sys.stderr, flush=True)
                os._exit(EXIT_UNUSABLE)
        else:
            seconds = time.monotonic() - start
            self.busy += seconds
            for n, answers in zip(rows, made, strict=True):
                self.answers[n], self.seconds[n] = answers, seconds
            return
        self.busy += time.monotonic() - start
        if len(rows) == 1:
            self._give_up(rows[0], message)
            return
        free_memory()  # outside of `except`, whose traceback holds the tensors
        for half in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
            self._batch(half)

    def _made(self, rows: list[int]) -> list[list[Answer]]:
        prompts = [self._prompts[n] for n in rows]
        if self._completions is None:
            made: list[list[Answer]] = self._engine.generate(prompts, [self._seeds[n] for n in rows])
            return made
        completions = [self._completions[n] for n in rows]
        scores = self._engine.score(prompts, completions)
        return [[Answer(ids, None, row)] for ids, row in zip(completions, scores, strict=True)]

    def _give_up(self, row: int, why: str) -> None:
        self.errors[row] = why
        self.failed.add(row)

    def told(self) -> list[list[dict[str, Any]] | None]:
        return [None if answers is None else [vars(a) for a in answers] for answers in self.answers]


def unusable(error: BaseException) -> bool:
    """Whether nothing works in this process after an error: a CUDA error other than lack of memory, a dead engine."""
    names = {c.__name__ for c in type(error).__mro__}
    if "OutOfMemoryError" in names:
        return False
    return bool(names & {"AcceleratorError", "EngineDeadError"}) or "CUDA error" in safe_text(error)


def free_memory() -> None:
    """Give memory of a failed batch back."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def failure(error: Exception) -> pa.Table:
    """A table that hands an error of a worker on to the driver, through the stages after it."""
    try:
        packed = pickle.dumps(error)
        pickle.loads(packed)
    except Exception:  # of a class that cannot travel
        packed = pickle.dumps(RuntimeError(described(error)))
    return pa.table({"failure": pa.array([packed], pa.binary())})


def _actor_id() -> str:
    import ray

    return ray.get_runtime_context().get_actor_id() or "none"
