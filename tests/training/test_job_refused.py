"""Trainings that cannot succeed end at once, with one sentence, and publish nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from handoff.errors import ArtifactError, BatonError, CapacityError, ConfigError
from handoff.run_dir import RunDir
from tests.training.runs import run_train
from training.recipe import Recipe, next_token_loss

MakeRun = Callable[..., RunDir]


def sick_loss(model: Any, batch: dict[str, Any]) -> Any:
    """Not a number from the fifth call on."""
    sick_loss.calls = getattr(sick_loss, "calls", 0) + 1  # type: ignore[attr-defined]
    return next_token_loss(model, batch) * (1.0 if sick_loss.calls < 5 else float("nan"))  # type: ignore[attr-defined]


@pytest.mark.faults
def test_a_loss_that_is_no_number_ends_training_and_keeps_the_last_good_checkpoint(
    ray_cluster: None, make_run: MakeRun
) -> None:
    run = make_run("sick", num_workers=1, zero_stage=0)
    with pytest.raises(ConfigError, match=r"loss is nan at step 5 of 6, blocks 0-4 to 0-4 .*Remedy: lower"):
        run_train(run, Recipe(sick_loss))
    kept = {f.rsplit("/", 2)[-2] for f in run.store.files("_training") if f.endswith("state-rank0.json")}
    assert len(kept) == 2, "those of steps 2 and 4"
    run.store.delete("_training")


def test_a_model_that_would_serve_other_than_it_learnt_is_not_published(
    ray_cluster: None, make_run: MakeRun, caplog: pytest.LogCaptureFixture
) -> None:
    """A class of one's own that computes otherwise than the base's class, which will serve its weights."""
    from transformers import LlamaForCausalLM

    class Doubled(LlamaForCausalLM):
        def forward(self, input_ids: Any = None, position_ids: Any = None, **settings: Any) -> Any:
            out = super().forward(input_ids=input_ids, position_ids=position_ids, **settings)
            out.logits = out.logits * 2
            return out

    caplog.set_level("INFO", "baton")
    run = make_run("doubled", max_steps=4)
    with pytest.raises(ArtifactError, match=r"(?s)not published: .*logits of the first passages differ by .*Remedy"):
        run_train(run, Recipe(model_class=Doubled))
    record = run.record("train")
    assert record and record.status == "failed" and not record.retry_helps
    assert not [f for f in run.store.files("model") if "doubled" in f]
    assert "restart" not in caplog.text, "each rank saw the same, and no start was wasted"
    kept = {f.rsplit("/", 2)[-2] for f in run.store.files("_training") if f.endswith("state-rank0.json")}
    assert len(kept) == 1, "the checkpoint of step 2"
    run.store.delete("_training")


def test_a_split_that_does_not_fill_one_step_is_refused(ray_cluster: None, make_run: MakeRun) -> None:
    run = make_run("small", seq_len=512, global_batch_tokens=512 * 64)
    with pytest.raises(ConfigError, match=r"makes \d blocks of 512 tokens, one step takes 64\. Remedy: lower"):
        run_train(run)


def test_too_many_workers_are_refused_before_training(ray_cluster: None, make_run: MakeRun) -> None:
    run = make_run("crowd", num_workers=64)
    with pytest.raises(CapacityError, match="needs 64 workers"):
        run_train(run)
    assert not list(run.store.files("_training"))


def clumsy_loss(model: Any, batch: dict[str, Any]) -> Any:
    """A step of one's own with a slip in it."""
    return next_token_loss(model, {"input_ids": batch["tokens"]})


def lopsided_loss(model: Any, batch: dict[str, Any]) -> Any:
    """A slip that only rank 1 meets, while rank 0 waits for it."""
    import torch.distributed

    return batch["tokens"] if torch.distributed.get_rank() == 1 else next_token_loss(model, batch)


@pytest.mark.parametrize("loss", [clumsy_loss, pytest.param(lopsided_loss, marks=pytest.mark.faults)])
def test_what_would_fail_again_is_told_in_one_sentence_and_not_started_again(
    ray_cluster: None, make_run: MakeRun, caplog: pytest.LogCaptureFixture, loss: Any
) -> None:
    run = make_run(f"{loss.__name__}", max_failures=5)
    caplog.set_level("INFO", "baton")
    with pytest.raises(BatonError, match=r"^KeyError: 'tokens' \(tests/training/test_job_refused.py, line \d+\)$"):
        run_train(run, Recipe(loss))
    record = run.record("train")
    assert record and record.status == "failed" and not record.retry_helps
    assert "restart" not in caplog.text


@pytest.mark.faults
def test_what_follows_the_end_of_its_group_is_no_fault_of_a_worker(
    ray_cluster: None, make_run: MakeRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Ray ends the group where an upload fails, and a worker in the middle of a step meets an AssertionError."""

    def forsaken_loss(model: Any, batch: dict[str, Any]) -> Any:
        import torch.distributed

        forsaken = tmp_path / f"rank{torch.distributed.get_rank()}"
        forsaken_loss.calls = getattr(forsaken_loss, "calls", 0) + 1  # type: ignore[attr-defined]
        if forsaken_loss.calls == 4 and not forsaken.exists():  # type: ignore[attr-defined]
            forsaken.touch()
            torch.distributed.destroy_process_group()
        return next_token_loss(model, batch)

    caplog.set_level("INFO", "baton")
    record = run_train(make_run("forsaken", max_failures=2), Recipe(forsaken_loss))
    assert {path.name for path in tmp_path.glob("rank*")} == {"rank0", "rank1"}, "both groups were ended"
    assert record.artifact and "restart 1 of 2" in caplog.text
