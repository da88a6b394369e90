"""MFU: the textbook arithmetic, and nothing where the peak is not known."""

import pytest

from training.worker.meters import flops_per_token, mfu


def test_full_training_takes_six_flops_per_parameter_and_adapters_spare_a_third() -> None:
    assert flops_per_token(1000, 1000, 0, 0, 0) == 6000
    assert flops_per_token(1000, 0, 0, 0, 0) == 4000
    assert flops_per_token(0, 0, 2, 8, 16) == 12 * 2 * 8 * 16


def test_utilisation_is_of_the_cards_own_peak() -> None:
    assert mfu(1e6, 989e6, "NVIDIA H100 80GB HBM3") == pytest.approx(1.0)
    assert mfu(1e6, 756e6, "NVIDIA H100 PCIe") == pytest.approx(1.0)
    assert mfu(1e6, 1e9, "CPU") is None
