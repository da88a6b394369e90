"""From models and passages to typed facts: every metric, and every comparison that the gate asks for."""

import math
from collections.abc import Mapping, Sequence

from evaluation.comparing import Change, gain, ratio_of_perplexities, ratio_of_rates
from evaluation.config import BITS_PER_BYTE, FUNCTION, PERPLEXITY, SUITE, EvaluationConfig
from evaluation.functions import Functions, Quarantined, judge_rows
from evaluation.passages import Encoded, Passage
from evaluation.pool import Contender, Encodings, Nll, complete, score
from evaluation.scoring import bits_per_byte, perplexity
from evaluation.suites import run_suites
from handoff.errors import ConfigError
from handoff.facts import Comparison, EvaluationFacts, Measured, Score, SplitResult


def measure(
    models: Mapping[str, Contender],
    passages: Mapping[str, list[Passage]],
    encoded: Encodings,
    config: EvaluationConfig,
    functions: Functions,
) -> tuple[EvaluationFacts, list[Quarantined]]:
    """Measure all models on the same rows.

    Args:
        models: by role: tuned, and base and champion where there are any.
        passages: per split.
        encoded: the same passages in each model's tokens.
        config: with the metrics that the gate asks for.
        functions: by name, those of the user.

    Returns:
        The facts, and the rows that a function failed on.

    Raises:
        ConfigError: a figure is not a number, or a function failed on all rows.
    """
    nll, limits = score(models, encoded, config)
    splits = {
        split: split_result(split, {name: (nll[name, split], encoded[name][split]) for name in models})
        for split in passages
    }
    decisive = config.splits[-1]
    others = [name for name in models if name != "tuned"]
    comparisons = []
    for other in others:
        alike = models[other].tokenizer.definition == models["tuned"].tokenizer.definition
        scored = {name: nll[name, decisive] for name in ("tuned", other)}
        rates = {name: rates_of(nll[name, decisive], encoded[name][decisive]) for name in ("tuned", other)}
        if alike:  # else the tokens are not the same, and their perplexities cannot be compared
            comparisons.append(_compared(PERPLEXITY, other, ratio_of_perplexities(scored["tuned"], scored[other])))
        comparisons.append(_compared(BITS_PER_BYTE, other, ratio_of_rates(rates["tuned"], rates[other])))
    scores, quarantined = [], []
    for metric, values, higher_is_better, failed in _further(models, passages[decisive], config, functions):
        quarantined += failed
        means = {name: math.fsum(v) / len(v) for name, v in values.items()}
        split = None if metric.startswith(SUITE) else decisive
        rows = len(values["tuned"])
        scores.append(Score(metric=metric, split=split, rows=rows, values=means, higher_is_better=higher_is_better))
        comparisons += [_compared(metric, o, gain(values["tuned"], values[o], higher_is_better)) for o in others]
    counted: dict[str, int] = {}
    for row in quarantined:
        counted[row.metric] = counted.get(row.metric, 0) + 1
    facts = EvaluationFacts(splits=splits, limits=limits, scores=scores, comparisons=comparisons, quarantined=counted)
    return facts, quarantined


def split_result(split: str, scored: Mapping[str, tuple[Sequence[Nll], Sequence[Encoded]]]) -> SplitResult:
    """Perplexity and bits per byte of each model on one split, and tuned / base perplexity.

    Raises:
        ConfigError: one of them is not a number.
    """
    found = {
        name: Measured(
            perplexity=perplexity(nll),
            bits_per_byte=bits_per_byte(math.fsum(value for value, _ in nll), sum(e.bytes for e in encoded)),
            tokens=sum(n for _, n in nll),
            bytes=sum(e.bytes for e in encoded),
            passages=len(nll),
        )
        for name, (nll, encoded) in scored.items()
    }
    if bad := [name for name, m in found.items() if not math.isfinite(m.perplexity)]:
        raise ConfigError(
            f"the perplexity of the {' and the '.join(bad)} model on {split} is not a number, so nothing can be compared. "
            "Remedy: check its weights for NaN and infinite values; bf16 or fp32 weights overflow less than fp16"
        )
    ratio = found["tuned"].perplexity / found["base"].perplexity if "base" in found else None
    return SplitResult(**found, ratio=ratio)


def rates_of(nll: Sequence[Nll], encoded: Sequence[Encoded]) -> list[tuple[float, int]]:
    """Negative log-likelihood and predicted bytes per passage."""
    return [(value, e.bytes) for (value, _), e in zip(nll, encoded, strict=True)]


def _compared(metric: str, against: str, change: Change) -> Comparison:
    return Comparison(metric=metric, against=against, **change._asdict())


def _further(
    models: Mapping[str, Contender], passages: list[Passage], config: EvaluationConfig, functions: Functions
) -> list[tuple[str, dict[str, list[float]], bool, list[Quarantined]]]:
    """Metric, values per model and row, direction and failed rows, of the gate's functions and suites."""
    found = []
    if config.functions:
        completions = complete(models, [p.prompt or "" for p in passages], config)
        for name in config.functions:
            judged = judge_rows(f"{FUNCTION}{name}", functions[name], passages, completions)
            if len(judged.values["tuned"]) < 2:
                raise ConfigError(
                    f"{FUNCTION}{name} failed on {len(judged.quarantined)} of {len(passages)} rows, the first time with "
                    f"{judged.quarantined[0].error if judged.quarantined else 'no error'}, and a comparison needs two. "
                    "Remedy: correct the function"
                )
            found.append((f"{FUNCTION}{name}", judged.values, True, judged.quarantined))
    if config.suites:
        for suite, (values, higher_is_better) in run_suites(models, config).items():
            found.append((f"{SUITE}{suite}", values, higher_is_better, []))
    return found
