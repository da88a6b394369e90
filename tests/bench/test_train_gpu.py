"""What the GPU benchmark compares is comparable, as far as a CPU can tell; and the share of idle time."""

from pathlib import Path

import pytest

from bench import train_gpu
from bench.gpu_use import idle_of
from bench.train_data import make_model


def test_idle_time_is_what_no_span_covers() -> None:
    assert idle_of([]) is None
    assert idle_of([(0, 4), (1, 2), (3, 6), (8, 10)]) == pytest.approx(0.2)
    assert idle_of([(5, 6), (0, 5)]) == 0


@pytest.mark.faults  # two processes that train: half a minute
def test_ours_and_the_trainers_losses_are_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_gpu, "HOME", tmp_path)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    base = make_model(tmp_path / "model", tokenizer=False, vocab_size=512, **sizes)
    on_cpu = {"use_gpu": False, "precision": "fp32", "zero_stage": 0, "cpus_per_worker": 1, "seq_len": 64}
    settings = train_gpu.config(base, 2, 2, learning_rate=1e-3, **on_cpu)
    losses = []
    for module in (train_gpu.OURS, train_gpu.TRAINER):
        outcome = train_gpu.train(base, settings, module, steps=6)
        assert outcome
        losses.append([entry["loss"] for entry in outcome["trace"]])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert len(set(losses[0])) == 6
