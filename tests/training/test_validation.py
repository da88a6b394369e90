"""Early stop after so many validations without a lower loss, and the best step; on the trace alone."""

import pytest

from training.worker.validation import best_step, patience_is_over


def trace(*losses: float | None) -> list[dict[str, float]]:
    return [{"step": n} if loss is None else {"step": n, "validation_loss": loss} for n, loss in enumerate(losses, 1)]


@pytest.mark.parametrize(
    ("losses", "over"),
    [
        ((), False),
        ((3.0, 3.1), False),
        ((3.0, 3.1, 3.2), True),
        ((3.0, 3.1, 2.9), False),
        ((3.0, None, 3.0, None, 3.0), True),
        ((3.0, 2.0, 2.5, 2.6), True),
        ((float("nan"), 3.0, 2.0), False),
    ],
)
def test_patience_counts_validations_that_brought_nothing(losses: tuple[float | None, ...], over: bool) -> None:
    assert patience_is_over(trace(*losses), 2) is over


def test_without_patience_training_goes_on() -> None:
    assert not patience_is_over(trace(1.0, 2.0, 3.0, 4.0), None)


@pytest.mark.parametrize(
    ("losses", "best"), [((), None), ((None, 3.0, None, 2.0, 2.5), 4), ((2.0, 2.0), 1), ((float("nan"), 3.0), 2)]
)
def test_the_best_step_is_the_earliest_with_the_lowest_loss(losses: tuple[float | None, ...], best: int | None) -> None:
    assert best_step(trace(*losses)) == best
