"""The train and evaluate stages: real Ray Train, real DeepSpeed, a worker that is really killed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from handoff.artifact import Artifact, open_artifact
from handoff.crash_points import ENVIRONMENT_VARIABLE
from handoff.errors import CapacityError, ConfigError, GateFailed
from handoff.publish import Staging
from handoff.run_dir import RunDir, StageRecord
from training.evaluate import evaluate
from training.job import train

MakeRun = Callable[..., RunDir]


def run_train(run: RunDir) -> StageRecord:
    with run.stage("train") as record:
        train(run, record)
    return record


def trained(run: RunDir) -> Artifact:
    record = run_train(run)
    assert record.artifact and not record.reused
    return open_artifact(run.store, record.artifact, digests=True)


def losses(model: Artifact) -> list[float]:
    return [s["loss"] for s in model.manifest.facts["steps"]]


def weights(model: Artifact) -> str:
    return next(f.sha256 for f in model.manifest.files if f.path == "model.safetensors")


def logits(model: Any) -> Any:
    import torch

    with torch.inference_mode():
        return model(torch.tensor([[5, 6, 7]])).logits


def load(directory: str | Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(directory)


@pytest.fixture(scope="module")
def calm(ray_cluster: None, make_run: MakeRun) -> Artifact:
    """Full fine-tuning under ZeRO 3 on two workers, undisturbed."""
    return trained(make_run("calm"))


def test_zero3_trains_and_exports_a_model(calm: Artifact, make_run: MakeRun, tiny_model: Path) -> None:
    facts, corpus = calm.manifest.facts, make_run("look").artifact("corpus")
    assert calm.manifest.parents[0].id == corpus.id
    assert (facts["world_size"], facts["zero_stage"], facts["method"], facts["restarts"]) == (2, 3, "full", 0)
    assert [s["step"] for s in facts["steps"]] == [1, 2, 3, 4, 5, 6]
    assert facts["train_tokens"] == facts["steps"][-1]["tokens"] == 6 * 2 * 32
    assert facts["blocks"] == 12 and facts["real_token_share"] == 1.0
    assert facts["parameters"] == facts["trainable_parameters"] > 100_000
    assert losses(calm)[-1] < losses(calm)[0]
    names = {f.path for f in calm.manifest.files}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= names
    assert not [n for n in names if n.endswith((".bin", ".pt", ".pkl"))], "no pickle"
    assert corpus.id in Path(calm.data, "README.md").read_text()
    assert not logits(load(calm.data)).equal(logits(load(tiny_model)))
    assert not list(calm.store.files("_training")), "checkpoints are gone once the model is published"


def test_the_same_work_is_found_not_done_again(calm: Artifact, make_run: MakeRun) -> None:
    record = run_train(make_run("again", checkpoint_every_steps=1))
    assert (record.artifact, record.reused) == (calm.id, True)


def test_a_killed_worker_and_a_full_disk_cost_nothing_but_time(
    calm: Artifact, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Model, optimizer and place in the data come back from a checkpoint: with any of them lost the losses differ."""
    store = calm.store
    store.delete(f"model/{calm.id}")  # so that the same is trained once more
    run = make_run("killed")

    def full_disk(*_: Any, **__: Any) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as broken:
        broken.setenv(ENVIRONMENT_VARIABLE, "train.step5.rank1")
        broken.setattr(Staging, "publish", full_disk)
        with pytest.raises(OSError, match="No space"):
            run_train(run)
    assert not list(store.files(f"model/{calm.id}")), "nothing half done is left"
    checkpoints = set(store.files("_training"))

    killed = trained(run)  # goes straight to publishing what the first attempt trained
    assert checkpoints and not list(store.files("_training"))
    assert killed.manifest.facts["restarts"] == 1, "the worker was killed"
    assert losses(killed) == losses(calm)
    assert weights(killed) == weights(calm)


def test_the_gate_stops_a_model_after_publishing_its_figures(calm: Artifact, make_run: MakeRun) -> None:
    run = make_run("gate", evaluation={"splits": ("validation", "test"), "max_perplexity_ratio": 0.01})
    run_train(run)
    for reused in (False, True):
        expected = pytest.raises(GateFailed, match=r"perplexity on test is [\d.]+ tuned and [\d.]+ base")
        with expected, run.stage("evaluate") as record:
            evaluate(run, record)
        assert (record.reused, record.status) == (reused, "failed")
    found = run.artifact("evaluate", digests=True).manifest
    assert found.parents[0].id == calm.id
    measured = found.facts["splits"]["test"]
    assert measured["base"]["passages"] == measured["tuned"]["passages"] == 4
    assert measured["tuned"]["perplexity"] < measured["base"]["perplexity"]
    assert found.facts["gate"] == {"split": "test", "ratio": measured["ratio"], "limit": 0.01, "passed": False}


def test_lora_is_exported_merged_with_the_adapter_beside(
    ray_cluster: None, make_run: MakeRun, tiny_model: Path
) -> None:
    from peft import PeftModel

    settings = {"method": "lora", "lora": {"rank": 4}, "learning_rate": 1e-2, "zero_stage": 2, "num_workers": 1}
    model = trained(make_run("lora", global_batch_tokens=64, max_steps=3, **settings))
    adapter = Path(model.data, "adapter")
    assert json.loads((adapter / "adapter_config.json").read_text())["r"] == 4
    assert model.manifest.facts["trainable_parameters"] < model.manifest.facts["parameters"]
    import torch

    torch.testing.assert_close(
        logits(PeftModel.from_pretrained(load(tiny_model), str(adapter))), logits(load(model.data))
    )
    assert not logits(load(model.data)).equal(logits(load(tiny_model)))


def test_a_loss_that_is_no_number_ends_training_at_its_step(
    ray_cluster: None, make_run: MakeRun, tiny_model: Path, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    for file in tiny_model.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    sick = load_file(tmp_path / "model.safetensors")
    sick["model.norm.weight"] = torch.full_like(sick["model.norm.weight"], float("nan"))
    save_file(sick, tmp_path / "model.safetensors", metadata={"format": "pt"})
    run = make_run("sick", base={"source": str(tmp_path)}, num_workers=1, zero_stage=0)
    before = set(run.store.files(""))
    with pytest.raises(ConfigError, match="loss is nan at step 1 of 6"):
        run_train(run)
    new = {f.split("/")[0] for f in set(run.store.files("")) - before}
    assert new == {"model"}, "the base model's manifest alone: no checkpoint, no tuned model"


def test_too_many_workers_are_refused_before_training(ray_cluster: None, make_run: MakeRun) -> None:
    run = make_run("crowd", num_workers=64)
    with pytest.raises(CapacityError, match="needs 64 workers"):
        run_train(run)
    assert not list(run.store.files("_training"))
