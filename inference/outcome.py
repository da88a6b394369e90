"""What the predictions came to: facts of the manifest, the stage's headline, samples for the log."""

import math
from collections import Counter
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from handoff.artifact import Artifact
from handoff.facts import PredictionFacts, facts_of
from handoff.job import log
from handoff.parquet import batches
from handoff.store import resolve
from inference.attempts import restarts
from inference.gather import Tally, labelled
from inference.pipeline import Task
from inference.summary import most_common, pool_use, throughput

SAMPLES = 3  # completions shown in the log, spread over the first ones that both models answered
LOOKED_AT = 100


def count_facts(tally: Tally, tuned: Task, base: Task | None) -> PredictionFacts:
    """Counts of what was written."""
    causes: Counter[str] = Counter()
    for summary in tally.summaries:
        causes.update(summary.errors)
    tokens = sum(s.tokens for s in tally.summaries)
    speeds, seconds = throughput(tally.summaries)
    return PredictionFacts(
        task=tuned.config.task,
        log_likelihood=math.fsum(tally.log_likelihoods) if tuned.config.task == "score" else None,
        model=tuned.model.id,
        prompts=tuned.prompts.count,
        errors=causes.total(),
        errors_by_cause=most_common(causes),
        prompt_tokens=tally.prompt_tokens,
        completion_tokens=tokens,
        finish_reasons=dict(tally.finish_reasons),
        prompt_lengths=labelled(tally.prompt_lengths),
        completion_lengths=labelled(tally.completion_lengths),
        tokens_per_second=round(tokens / seconds, 1) if seconds else 0.0,
        throughput=speeds,
        seconds=round(seconds, 3),
        pool=pool_use(tally.summaries),
        restarts=restarts(tuned.answers),
        limits={trick: why for s in tally.summaries for trick, why in s.limits.items()},
        batches=sum(s.batches for s in tally.summaries),
        fewest_batches=sum(s.fewest_batches for s in tally.summaries),
        baseline_prompts=base.prompts.count if base else 0,
    )


def headline(facts: PredictionFacts) -> str:
    errors = f", {facts.errors} with an error" if facts.errors else ""
    what = "completions scored" if facts.task == "score" else "predictions"
    mean = f", {facts.mean_log_likelihood:.3f} a token" if facts.mean_log_likelihood is not None else ""
    return (
        f"{facts.prompts:,} {what}{errors}, {facts.completion_tokens:,} tokens "
        f"at {facts.tokens_per_second:.1f} tokens/s{mean}"
    )


def metrics(facts: PredictionFacts) -> dict[str, Any]:
    told = {k: getattr(facts, k) for k in ("prompts", "errors", "completion_tokens", "tokens_per_second")}
    if facts.limits:
        told |= {k: getattr(facts, k) for k in ("limits", "batches", "fewest_batches")}
    return told


def show_samples(predictions: Artifact) -> None:
    """A few completions, base beside tuned, on one line each; spread over the prompts that have both."""
    pairs: list[dict[str, Any]] = []
    if facts_of(predictions.manifest, PredictionFacts).task == "score":
        return  # which makes no texts
    for file in predictions.files():
        filesystem, path = resolve(file)
        with pq.ParquetFile(path, filesystem=filesystem) as parquet:
            for batch in batches(parquet, ["prompt", "completion", "baseline"], 4096):
                both = pc.and_(pc.is_valid(batch["baseline"]), pc.is_valid(batch["completion"]))
                pairs += batch.filter(both).to_pylist()
                if len(pairs) >= LOOKED_AT:
                    break
        if len(pairs) >= LOOKED_AT:
            break
    for number, row in enumerate((pairs[i] for i in spread(SAMPLES, len(pairs))), start=1):
        log.info("sample %d   %s", number, one_line(row["prompt"]))
        log.info("    base   %s", one_line(row["baseline"]))
        log.info("    tuned  %s", one_line(row["completion"]))


def spread(count: int, total: int) -> list[int]:
    """``count`` positions spread evenly over ``total`` rows, the first among them; all of them where count >= total."""
    count = min(count, total)
    return [i * total // count for i in range(count)]


def one_line(text: str, width: int = 150) -> str:
    flat = " / ".join(part.strip() for part in text.splitlines() if part.strip())
    return flat if len(flat) <= width else f"{flat[: width - 1]}…"
