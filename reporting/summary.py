"""A run in plain text, for the terminal: one line per stage, and the closing lines of ``make demo``."""

from handoff.run_dir import RunDir, StageRecord
from handoff.stages import declared
from pages import text
from reporting import sections
from reporting.collect import Collected, collect, directory_of
from reporting.report import NAME

WIDTH = 100
PREDICTIONS_SHOWN = 3
LONGEST_ERROR = 600  # characters
MARKS = {"success": "✓", "failed": "✗", "running": "…", "skipped": "–"}


def stage_line(record: StageRecord) -> str:
    """``✓ corpus      24.1 s  Spark    9,412 passages kept of 11,020``; ``↺`` where the artifact was found.

    A failed stage shows its error with the remedy, which may take more than a line.
    """
    mark = "↺" if record.reused and record.status == "success" else MARKS[record.status]
    time = _plain(text.duration(record.seconds))
    start = f"{mark} {record.stage:<9}{time:>13}  {declared(record.stage).engine:<8}"
    if record.status == "failed":
        return f"{start}{text.shorten(text.one_line(record.error or 'failed'), LONGEST_ERROR)}"
    return text.shorten(f"{start}{text.one_line(record.headline)}".rstrip(), WIDTH)


def summary(run: RunDir) -> list[str]:
    """Perplexities per split, three predictions of both models, and where things are; paths are never cut."""
    collected = collect(run)
    return [*_ending(collected), "", *_perplexities(collected), "", *_predictions(collected), "", *_places(collected)]


def _ending(run: Collected) -> list[str]:
    sentence, _ = sections.outcome(run)
    took = _plain(text.duration(run.timeline.seconds))
    return [text.one_line(f"{sections.title(run)}, {took}"), text.one_line(sentence)]


def _perplexities(run: Collected) -> list[str]:
    facts, lines = run.evaluation.facts, [f"{'Perplexity':<14}{'base':>9}{'tuned':>9}{'ratio':>8}"]
    if not facts.splits:
        return [f"Perplexity: {text.one_line(run.evaluation.why)}"]
    for name, split in facts.splits.items():
        base = text.perplexity(split.base.perplexity) if split.base else "–"
        ratio = "–" if split.ratio is None else f"{split.ratio:.3f}"
        lines.append(f"  {text.one_line(name):<12}{base:>9}{text.perplexity(split.tuned.perplexity):>9}{ratio:>8}")
    if run.gate:
        lines.append(f"Gate, on {run.gate.split}: {'passed' if run.gate.passed else 'FAILED'}")
        lines += [f"  {'✓' if verdict.passed else '✗'} {text.one_line(str(verdict))}" for verdict in run.gate.verdicts]
    return lines


def _predictions(run: Collected) -> list[str]:
    rows = run.samples.compared[:PREDICTIONS_SHOWN]
    if (mean := run.predictions.facts.mean_log_likelihood) is not None:
        return [f"Scores: {mean:.3f} per token over {text.count(run.predictions.facts.completion_tokens)} tokens"]
    if not rows:
        return [f"Predictions: {text.one_line(run.samples_why) or 'the base model answered no prompt'}"]
    lines = ["Predictions"]
    for row in rows:
        lines.append(text.shorten(f"  {text.one_line(row['prompt'])}", WIDTH))
        for who, column in (("base", "baseline"), ("tuned", "completion")):
            lines.append(text.shorten(f"    {who:<7}{text.one_line(row[column])}", WIDTH))
    return lines


def _places(run: Collected) -> list[str]:
    lines = ["Where things are"]
    if run.model.artifact:
        lines.append(f"  model        {run.model.artifact.data}")
    if run.promotion:
        alias = f" ({run.promotion.alias})" if run.promotion.alias else ""
        lines.append(f"  registered   {run.promotion.model} version {run.promotion.version}{alias}")
    if run.predictions.artifact:
        lines.append(f"  predictions  {run.predictions.artifact.data}")
    if checked := directory_of(run.predictions) or directory_of(run.model):
        lines.append(f"  verify       python -m handoff.verify {checked}")
    lines.append(f"  report       {run.uri}/{NAME}")
    return [text.without_credentials(line) for line in lines]


def _plain(value: str) -> str:
    return value.replace(text.NARROW_SPACE, " ")
