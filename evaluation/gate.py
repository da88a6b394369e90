"""The gate: criteria in, typed facts in, one verdict per criterion out. Nothing is measured here."""

from collections.abc import Collection

from evaluation.config import BITS_PER_BYTE, FUNCTION, PERPLEXITY, Criterion, EvaluationConfig
from handoff.errors import ConfigError
from handoff.facts import Comparison, EvaluationFacts
from handoff.gate import Gate, Verdict
from registry.client import Champion


def refuse(
    config: EvaluationConfig,
    *,
    has_base: bool,
    other_tokenizer: Collection[str],
    functions: Collection[str],
    pairs: bool,
) -> None:
    """See that every criterion can be judged, before anything is measured.

    Args:
        config: with the gate.
        has_base: whether the tuned model was made from another one.
        other_tokenizer: models (``base``, ``champion``) whose tokenizer is not the tuned model's.
        functions: names of the functions that the job knows.
        pairs: whether the corpus has prompts with completions.

    Raises:
        ConfigError: naming every criterion that cannot be judged, each with its remedy.
    """
    problems = []
    for criterion in config.gate:
        name = criterion.metric.removeprefix(FUNCTION)
        if criterion.against == "base" and not has_base:
            problems.append(
                f"{criterion.metric} against base: the model was not made from another one. Remedy: judge it against the "
                "champion or a value"
            )
        if criterion.metric == PERPLEXITY and criterion.against in other_tokenizer:
            problems.append(
                f"perplexity against {criterion.against}: that model has another tokenizer, and perplexities per token "
                f"cannot be compared. Remedy: take the metric {BITS_PER_BYTE}"
            )
        if criterion.metric.startswith(FUNCTION) and name not in functions:
            known = ", ".join(sorted(functions)) or "none"
            problems.append(
                f"{criterion.metric}: this job has no such function (known: {known}). Remedy: name it, or run a job that "
                "brings it along, as examples/own_metric.py does"
            )
        if criterion.metric.startswith(FUNCTION) and not pairs:
            problems.append(
                f"{criterion.metric}: the corpus has plain text, and a function judges the completion of a prompt. Remedy: "
                "make a corpus of prompts with completions"
            )
    if problems:
        raise ConfigError("the gate cannot be judged: " + "; ".join(dict.fromkeys(problems)))


def judge(facts: EvaluationFacts, config: EvaluationConfig, champion: Champion | None, tuned_id: str) -> Gate:
    """Whether the tuned model is good enough, by the figures that the evaluation keeps.

    Args:
        facts: of the evaluation.
        config: with the gate; the last of its splits decides.
        champion: the version that holds the alias; None where none does.
        tuned_id: of the model that is judged.
    """
    split = config.splits[-1]
    verdicts = tuple(_verdict(facts, split, criterion, champion, tuned_id) for criterion in config.gate)
    return Gate(
        split=split,
        passed=all(v.passed for v in verdicts),
        verdicts=verdicts,
        champion_version=champion.version if champion else None,
    )


def _verdict(
    facts: EvaluationFacts, split: str, criterion: Criterion, champion: Champion | None, tuned_id: str
) -> Verdict:
    metric, against, limit = criterion.metric, criterion.against, criterion.bound
    value, lower_is_better = _value(facts, split, metric, "tuned")
    told = {"metric": metric, "against": against, "limit": limit, "value": value}
    if against == "value":
        passed = value <= limit if lower_is_better else value >= limit
        return Verdict(**told, passed=passed, why="within the limit" if passed else "beyond the limit")
    if against == "champion" and facts.champion is None:
        same = champion is not None and champion.model == tuned_id
        return Verdict(**told, passed=True, why="it is the champion" if same else "no champion yet")
    found = next(c for c in facts.comparisons if (c.metric, c.against) == (metric, against))
    reference, _ = _value(facts, split, metric, against)
    shown = found.model_dump(include={"change", "low", "high"}) | {"reference": reference}
    if against == "base":
        passed = found.change <= limit if criterion.by_ratio else found.change >= limit
        return Verdict(**told, **shown, passed=passed, why=_direction(found, criterion))
    # Refused only where it is certain: an interval that spans the limit is no difference.
    passed = found.low <= limit if criterion.by_ratio else found.high >= limit
    return Verdict(**told, **shown, passed=passed, why=_direction(found, criterion))


def _direction(found: Comparison, criterion: Criterion) -> str:
    """Better, worse, or no difference where the interval spans that."""
    equal = 1.0 if criterion.by_ratio else 0.0
    if found.low <= equal <= found.high:
        return "no difference"
    return "better" if (found.high < equal) == criterion.by_ratio else "worse"


def _value(facts: EvaluationFacts, split: str, metric: str, model: str) -> tuple[float, bool]:
    """A model's value of a metric, and whether lower is better."""
    if metric in (PERPLEXITY, BITS_PER_BYTE):
        return getattr(getattr(facts.splits[split], model), metric), True
    score = next(s for s in facts.scores if s.metric == metric)
    return score.values[model], not score.higher_is_better


def needs_champion(config: EvaluationConfig) -> bool:
    """Whether a criterion looks at the champion."""
    return any(c.against == "champion" for c in config.gate)
