"""What is told of shards: counts, errors by cause, lengths, times; of one shard, and of all of them together."""

import json
import re
from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from handoff.facts import PoolUse
from inference.shards import Shard

CAUSES = 20  # told of at most; the others are counted together
INTERVALS = 40  # of the chart of throughput
_VARIABLE = re.compile(r"\d[\d,.]*|'[^']*'|0x[0-9a-f]+")


class Summary(BaseModel):
    """Of one shard. Times are in seconds since 1970, on the actor's clock."""

    start: int
    stop: int
    rows: int  # of predictions
    errors: dict[str, int]  # prompts by cause
    failed: int  # prompts on which the model failed; the other errors are of the prompts themselves
    first_error: str | None  # after its prompt's id
    tokens: int  # of completions
    begun: float
    ended: float
    busy: float  # the engine worked
    waited_input: float  # before this shard
    waited_output: float  # after the shard before
    actor: str
    limits: dict[str, str] = {}  # what the engine does not do with the model: from where on, why, and what it costs
    batches: int = 0
    fewest_batches: int = 0  # that there would have been without these limits

    @classmethod
    def of(cls, shard: Shard, batch: pa.Table, rows: pa.Table) -> "Summary":
        """
        Args:
            shard: its places.
            batch: what the model stage returned.
            rows: the predictions.
        """
        told = {k.decode(): v.decode() for k, v in (batch.schema.metadata or {}).items()}
        named = zip(batch["id"].to_pylist(), batch["error"].to_pylist(), strict=True)
        errors = [(name, error) for name, error in named if error is not None]
        return cls(
            start=shard.start,
            stop=shard.stop,
            rows=len(rows),
            errors=Counter(cause(error) for _, error in errors),
            failed=pc.sum(batch["failed"]).as_py() or 0,
            first_error=": ".join(errors[0]) if errors else None,
            tokens=pc.sum(rows["completion_tokens"]).as_py() or 0,
            **{k: float(told.get(k, 0)) for k in ("begun", "ended", "busy", "waited_input", "waited_output")},
            actor=told.get("actor", ""),
            limits=json.loads(told.get("limits", "{}")),
            batches=int(told.get("batches", 0)),
            fewest_batches=int(told.get("fewest_batches", 0)),
        )

    @property
    def errored(self) -> int:
        return sum(self.errors.values())


def cause(error: str) -> str:
    """An error without its numbers and quoted words, so that like ones count together."""
    return _VARIABLE.sub("…", error)[:200]


def most_common(causes: Counter[str]) -> dict[str, int]:
    """The most frequent causes, and the others together."""
    told = dict(causes.most_common(CAUSES))
    if others := sum(causes.values()) - sum(told.values()):
        told["other causes"] = others
    return told


def throughput(shards: Sequence[Summary]) -> tuple[list[float], float]:
    """Tokens per second in equal intervals of the time in which any replica worked or waited for work, and its seconds.

    That is the wall-clock time from the first shard to the last, as the progress line counts it. Only the time in which
    there was no replica, as between a kill and the next attempt, is left out. A shard's tokens are spread evenly over
    its own time.
    """
    seen: set[str] = set()
    spans = []
    for s in sorted((s for s in shards if s.ended > s.begun), key=lambda s: s.begun):
        waited = (
            s.waited_input + s.waited_output if s.actor in seen else 0.0
        )  # before the first is loading and start-up
        seen.add(s.actor)
        spans.append((s.begun - waited, s.begun, s.ended, s.tokens))
    placed: list[tuple[float, float, int]] = []  # on an axis without the gaps
    covered, edge = 0.0, float("-inf")
    for since, begun, ended, tokens in sorted(spans):
        if since > edge:
            shift, edge = covered - since, since
        placed.append((begun + shift, ended + shift, tokens))
        if ended > edge:
            covered, edge = ended + shift, ended
    if not covered:
        return [], 0.0
    width = covered / min(INTERVALS, len(placed))
    made = [0.0] * min(INTERVALS, len(placed))
    for begun, ended, tokens in placed:
        for number in range(int(begun / width), min(int(ended / width), len(made) - 1) + 1):
            overlap = min(ended, (number + 1) * width) - max(begun, number * width)
            made[number] += tokens * max(overlap, 0.0) / (ended - begun)
    return [round(tokens / width, 1) for tokens in made], covered


def pool_use(shards: Sequence[Summary]) -> PoolUse:
    """What the actors' time went into, after each had its model: shares of the time of all."""
    ordered: dict[str, list[Summary]] = {}
    for shard in sorted(shards, key=lambda s: s.begun):
        ordered.setdefault(shard.actor, []).append(shard)
    computed = waited_input = waited_output = total = 0.0
    for mine in ordered.values():
        total += sum(s.ended - s.begun for s in mine)
        computed += sum(s.busy for s in mine)
        for shard in mine[1:]:  # what was before the first shard is loading and start-up
            waited_input += shard.waited_input
            waited_output += shard.waited_output
            total += shard.waited_input + shard.waited_output
    if not total:
        return PoolUse(computed=0.0, waited_for_input=0.0, waited_for_output=0.0)
    shares = (round(part / total, 4) for part in (computed, waited_input, waited_output))
    return PoolUse(**dict(zip(("computed", "waited_for_input", "waited_for_output"), shares, strict=True)))
