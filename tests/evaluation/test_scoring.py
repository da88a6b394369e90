"""Perplexity: the textbook figure, independent of batching and padding."""

import math
from pathlib import Path
from typing import Any

import pytest

from engines import likelihood
from evaluation.scoring import passage_nll, perplexity


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_model).eval()


def test_nll_is_the_models_own_loss(model: Any) -> None:
    import torch

    ids = [5, 17, 3, 90, 41]
    (nll, predicted), *_ = passage_nll(model, [ids], pad_id=0)
    tensor = torch.tensor([ids])
    assert predicted == 4
    assert nll / predicted == pytest.approx(model(input_ids=tensor, labels=tensor).loss.item(), rel=1e-5)


def test_a_passage_scores_the_same_in_any_batch(model: Any) -> None:
    short, long = [5, 17, 3], list(range(10, 60))
    alone = passage_nll(model, [short], 0)[0]
    beside = passage_nll(model, [long, short], 0)[1]
    assert beside == pytest.approx(alone, rel=1e-5)


def test_memory_follows_the_longest_row_and_the_vocabulary_not_the_batch(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One loss for evaluation and the task score: a bounded number of logits at a time, and of their copies in fp32."""
    vocabulary = model.config.vocab_size
    rows = [[(7 * n + row) % 300 for n in range(length)] for row, length in enumerate((60, 3, 40, 40, 1, 39))]
    expected = [passage_nll(model, [row], 0)[0] for row in rows]
    monkeypatch.setattr(likelihood, "LOGITS", 80 * vocabulary)
    monkeypatch.setattr(likelihood, "CHUNK", 7 * vocabulary)
    passes: list[int] = []
    handle = model.register_forward_hook(lambda _module, _given, made: passes.append(made.logits.numel() // vocabulary))
    try:
        found = passage_nll(model, rows, 0)
    finally:
        handle.remove()
    assert max(passes) <= 80 and len(passes) == 4
    assert [count for _, count in found] == [59, 2, 39, 39, 0, 38]
    assert [nll for nll, _ in found] == pytest.approx([nll for nll, _ in expected], rel=1e-5)


def test_a_prompt_is_context_and_not_scored(model: Any) -> None:
    ids = [5, 17, 3, 90, 41]
    (whole, _), (rest, predicted), (all_of_it, most) = passage_nll(model, [ids] * 3, 0, [0, 3, 1])
    assert predicted == 2 and most == 4 and all_of_it == pytest.approx(whole)
    (start, _), *_ = passage_nll(model, [ids[:3]], 0)
    assert start + rest == pytest.approx(whole, rel=1e-5)


def test_perplexity_weighs_tokens_not_passages() -> None:
    assert perplexity([(1.0, 1), (9.0, 9)]) == pytest.approx(math.e)
    assert perplexity([(3.0, 1), (0.0, 2)]) == pytest.approx(math.e)


def test_nothing_predicted_is_an_error() -> None:
    with pytest.raises(ValueError, match="no token"):
        perplexity([(0.0, 0)])


def test_a_hopeless_model_has_infinite_perplexity() -> None:
    assert perplexity([(1e6, 1)]) == math.inf
