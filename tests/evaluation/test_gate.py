"""The gate: one verdict per criterion from typed facts, and criteria that cannot be judged are named beforehand."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from evaluation.comparing import gain, ratio_of_perplexities, ratio_of_rates
from evaluation.config import Criterion, EvaluationConfig
from evaluation.gate import judge, refuse
from handoff.errors import ConfigError
from handoff.facts import Comparison, EvaluationFacts, Measured, Score, SplitResult
from handoff.gate import Gate
from registry.client import Champion

TUNED = "model-1111111111111111"
CHAMPION = Champion(3, "model-2222222222222222", None)


def facts(champion: tuple[float, float, float] | None = None, ratio: float = 0.8, **more: Any) -> EvaluationFacts:
    """Base perplexity 50; ``champion`` is the change of bits per byte with its interval."""
    base, tuned = Measured(perplexity=50, bits_per_byte=2.0), Measured(perplexity=50 * ratio, bits_per_byte=1.5)
    found = [Comparison(metric="perplexity", against="base", change=ratio, low=ratio - 0.05, high=ratio + 0.05)]
    other = None
    if champion:
        other = Measured(perplexity=40, bits_per_byte=1.4)
        change, low, high = champion
        found.append(Comparison(metric="bits_per_byte", against="champion", change=change, low=low, high=high))
    split = SplitResult(base=base, tuned=tuned, champion=other, ratio=ratio)
    return EvaluationFacts(
        splits={"validation": split, "test": split},
        comparisons=[*found, *more.pop("comparisons", [])],
        champion=CHAMPION.model if champion else None,
        **more,
    )


def gate(found: EvaluationFacts, *criteria: Criterion, champion: Champion | None = None) -> Gate:
    config = EvaluationConfig(gate=criteria) if criteria else EvaluationConfig()
    return judge(found, config, champion, TUNED)


@pytest.mark.parametrize(
    "change, passed, why",
    [
        ((0.9, 0.85, 0.95), True, "better"),
        ((1.02, 0.97, 1.07), True, "no difference"),
        ((1.1, 1.04, 1.16), False, "worse"),
    ],
)
def test_the_default_refuses_a_model_that_is_certainly_worse_than_the_champion(
    change: tuple[float, float, float], passed: bool, why: str
) -> None:
    decided = gate(facts(champion=change), champion=CHAMPION)
    assert (decided.passed, decided.champion_version) == (passed, 3)
    verdict = decided.verdict("bits_per_byte", "champion")
    assert verdict and (verdict.passed, verdict.why, verdict.reference) == (passed, why, 1.4)


def test_the_first_model_of_its_name_and_the_champion_itself_are_not_compared_with_it() -> None:
    for champion, why in ((None, "no champion yet"), (Champion(3, TUNED, None), "it is the champion")):
        decided = gate(facts(), champion=champion)
        verdict = decided.verdict("bits_per_byte", "champion")
        assert decided.passed and verdict and verdict.why == why and verdict.reference is None


def test_the_base_is_judged_by_the_measured_ratio_and_every_criterion_counts() -> None:
    assert not gate(facts(ratio=0.98), Criterion(limit=0.95)).passed, "the interval, down to 0.93, does not help"
    decided = gate(facts(ratio=0.9), Criterion(limit=0.95), Criterion(against="value", limit=44))
    assert [v.passed for v in decided.verdicts] == [True, False] and not decided.passed
    assert str(decided.failed[0]) == "perplexity 45 against a value: limit 44: beyond the limit"


def test_a_gate_without_a_base_is_an_absolute_limit_and_the_champion() -> None:
    measured = Measured(perplexity=30, bits_per_byte=1.2)
    alone = EvaluationFacts(splits={"test": SplitResult(tuned=measured)})
    criteria = (Criterion(against="value", limit=35), Criterion(metric="bits_per_byte", against="champion"))
    refuse(EvaluationConfig(gate=criteria), has_base=False, other_tokenizer=(), functions=(), pairs=False)
    assert gate(alone, *criteria).passed
    with pytest.raises(
        ConfigError, match=r"not made from another one\. Remedy: judge it against the champion or a value"
    ):
        refuse(EvaluationConfig(), has_base=False, other_tokenizer=(), functions=(), pairs=False)


def test_of_other_metrics_the_gain_counts_in_their_own_direction() -> None:
    found = facts(
        scores=[Score(metric="function:exact", rows=9, values={"tuned": 0.6, "base": 0.5}, split="test")],
        comparisons=[Comparison(metric="function:exact", against="base", change=0.1, low=-0.1, high=0.3)],
    )
    criterion = {"metric": "function:exact", "against": "base"}
    assert gate(found, Criterion(**criterion)).passed and gate(found, Criterion(**criterion, limit=0.1)).passed
    assert not gate(found, Criterion(**criterion, limit=0.15)).passed
    assert not gate(found, Criterion(metric="function:exact", against="value", limit=0.7)).passed


def test_what_cannot_be_judged_is_named_all_at_once_with_its_remedy() -> None:
    criteria = (Criterion(against="champion"), Criterion(metric="function:rhymes", against="base"))
    with pytest.raises(ConfigError) as refused:
        refuse(
            EvaluationConfig(gate=criteria),
            has_base=True,
            other_tokenizer={"champion"},
            functions={"exact": len},
            pairs=False,
        )
    for part in (
        "perplexity against champion: that model has another tokenizer",
        "Remedy: take the metric bits_per_byte",
        "function:rhymes: this job has no such function (known: exact)",
        "the corpus has plain text",
    ):
        assert part in str(refused.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"against": "value"},
        {"limit": 0},
        {"metric": "perplexty"},
        {"metric": "function:os.system"},
        {"metric": "suite:../x/acc"},
        {"limit": float("nan")},
    ],
)
def test_a_criterion_that_makes_no_sense_is_refused_where_it_is_written(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Criterion(**wrong)


def test_intervals_are_paired_and_the_same_each_time() -> None:
    """Passages differ tenfold in difficulty, the models by a twentieth on each: only pairing can see that."""
    hard = np.random.default_rng(1).uniform(20, 200, 60)
    other = [(nll, 30) for nll in hard.tolist()]
    tuned = [(0.95 * nll, 30) for nll, _ in other]
    found = ratio_of_rates(tuned, other)
    assert found.change == pytest.approx(0.95) and found.low == pytest.approx(0.95) and found.high < 1
    assert ratio_of_rates(tuned, other) == found
    mean = sum(nll for nll, _ in other) / (30 * 60)
    assert ratio_of_perplexities(tuned, other).change == pytest.approx(np.exp(-0.05 * mean))
    equal = ratio_of_perplexities(other, other)
    assert (equal.change, equal.low, equal.high) == (1, 1, 1)
    noise = np.random.default_rng(2).normal(0, 5, 60)
    spread = ratio_of_rates([(nll + more, 30) for (nll, _), more in zip(other, noise.tolist(), strict=True)], other)
    assert spread.low < 1 < spread.high
    assert gain([1, 1, 0], [0, 1, 0]).change == -gain([1, 1, 0], [0, 1, 0], higher_is_better=False).change == 1 / 3
