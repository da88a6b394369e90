"""The train and evaluate stages: real Ray Train, real DeepSpeed, a worker that is really killed."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluation.config import gate_against_base
from evaluation.job import evaluate
from handoff.artifact import Artifact, open_artifact
from handoff.crash_points import ENVIRONMENT_VARIABLE
from handoff.errors import ConfigError, GateFailed
from handoff.facts import ModelFacts
from handoff.gate import gate_of
from handoff.publish import Staging
from handoff.run_dir import RunDir
from orchestration.presets import gptj
from tests.training.runs import run_train, trained
from training.checkpoints.scratch import Scratch
from training.job import CHECKPOINTS

MakeRun = Callable[..., RunDir]

# Two epochs of 10 blocks each, of which the last one is not full; a checkpoint after every second step of 10.
CALM = {"seq_len": 256, "max_steps": None, "epochs": 2, "validate_every_steps": 4, "validation_blocks": 1}


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
    """Full fine-tuning under ZeRO 3 on two workers, undisturbed; the model drops out a tenth of its attention."""
    return trained(make_run("calm", **CALM))


def audit(model: Artifact) -> list[list[list[str]]]:
    """Per step and rank, the blocks that the rank consumed."""
    files = sorted(Path(model.data, "audit").iterdir())
    ranks = [[json.loads(line)["blocks"] for line in file.read_text().splitlines()] for file in files]
    return [list(step) for step in zip(*ranks, strict=True)]


def test_zero3_trains_and_exports_a_model(calm: Artifact, make_run: MakeRun, tiny_model: Path) -> None:
    facts, corpus = calm.manifest.facts, make_run("look").artifact("corpus")
    assert calm.manifest.parents[0].id == corpus.id
    assert (facts["world_size"], facts["zero_stage"], facts["method"], facts["restarts"]) == (2, 3, "full", 0)
    lacks = set(ModelFacts.model_fields) - set(facts)
    assert lacks == {"pairs", "pairs_too_long"}, "a fact that is declared and never told"
    steps = facts["steps"]
    assert [s["step"] for s in steps] == list(range(1, len(steps) + 1)) and len(steps) > 6
    assert facts["train_tokens"] == steps[-1]["tokens"]
    assert 0.9 < facts["real_token_share"] < 1.0, "the last block of an epoch is padded"
    assert facts["parameters"] == facts["trainable_parameters"] > 100_000
    assert losses(calm)[-1] < losses(calm)[0]
    validated = {s["step"]: s["validation_loss"] for s in steps if "validation_loss" in s}
    assert set(validated) == {n for n in range(1, len(steps) + 1) if n % 4 == 0}
    assert validated[8] < validated[4]
    assert 0 <= facts["data_wait_share"] < 1 and all(s["memory_bytes"] > 1e6 for s in steps)
    names = {f.path for f in calm.manifest.files}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= names
    assert not [n for n in names if n.endswith((".bin", ".pt", ".pkl"))], "no pickle"
    assert corpus.id in Path(calm.data, "README.md").read_text()
    assert not logits(load(calm.data)).equal(logits(load(tiny_model)))
    assert not list(calm.store.files("_training")), "checkpoints are gone once the model is published"


def test_every_block_is_consumed_once_per_epoch(calm: Artifact) -> None:
    steps = audit(calm)
    assert len(steps) == len(losses(calm)) and all(len(ranks) == 2 for ranks in steps)
    consumed = [block for ranks in steps for blocks in ranks for block in blocks]
    per_epoch = len(consumed) // 2
    assert consumed == [f"{epoch}-{index}" for epoch in range(2) for index in range(per_epoch)]


def test_the_same_work_is_found_not_done_again(calm: Artifact, make_run: MakeRun) -> None:
    record = run_train(make_run("again", **CALM, checkpoint_every_steps=1))
    assert (record.artifact, record.reused) == (calm.id, True)


@pytest.mark.faults
def test_a_killed_worker_damaged_checkpoints_and_a_full_disk_cost_nothing_but_time(
    calm: Artifact, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Model, optimizer, dropout and place in the data come back from a checkpoint: with any lost the losses differ."""
    store, last, consumed = calm.store, len(losses(calm)), audit(calm)
    store.delete(f"model/{calm.id}")  # so that the same is trained once more
    run = make_run("killed", **CALM, checkpoints_kept=3)

    def full_disk(*_: Any, **__: Any) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as broken:
        broken.setenv(ENVIRONMENT_VARIABLE, "train.step9.rank1")  # in the second epoch
        broken.setattr(Staging, "publish", full_disk)
        with pytest.raises(OSError, match="No space"):
            run_train(run)
    assert not list(store.files(f"model/{calm.id}")), "nothing half done is left"

    # The exported model and the newest shards are damaged: the checkpoint before them is taken.
    root = Path(store.root)
    exported = next((root / "_training").rglob("model.safetensors"))
    exported.write_bytes(exported.read_bytes()[:-1])
    shards = sorted((root / "_training").rglob("*optim_states.pt"))
    shards[-1].write_bytes(shards[-1].read_bytes()[:100])
    caplog.set_level("INFO", "baton")
    killed = trained(run)
    assert "model.safetensors was changed" in caplog.text and "optim_states.pt was changed" in caplog.text
    kept = list(range(2, last, 2))[-2]
    assert f"resumed from the checkpoint of step {kept}" in caplog.text
    # One after the damage, one after the kill where any checkpoint's upload was complete by then.
    assert killed.manifest.facts["restarts"] in (1, 2)
    assert losses(killed) == losses(calm)
    assert weights(killed) == weights(calm)
    assert audit(killed) == consumed
    assert not list(store.files("_training"))


@pytest.mark.faults
@pytest.mark.parametrize("point", ["checkpoint", "uploading"])
def test_a_worker_killed_between_writing_its_shard_and_the_end_of_its_upload_costs_nothing_but_time(
    calm: Artifact, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, point: str
) -> None:
    """Rank 0's shard of step 6 may reach the store, rank 1's does not, or in part: that checkpoint is not one."""
    calm = open_artifact(calm.store, calm.id)  # where it lies since a test before this one had it made again
    consumed = audit(calm)
    calm.store.delete(f"model/{calm.id}")
    caplog.set_level("INFO", "baton")
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, f"train.{point}6.rank1")
    again = trained(make_run(f"half-{point}", **CALM))
    resumed = re.search(r"a worker was lost after step [567]; restart 1 of 2 from (.+)", caplog.text)
    assert resumed, "the fault did not happen"
    left = Scratch(f"{calm.store.root}/{CHECKPOINTS}/{again.id}", 0).root
    assert not left.exists(), "the killed worker's shard is still on its disk"
    possible = {"the beginning", "the checkpoint of step 2", "the checkpoint of step 4"}
    # An upload of a few hundred kilobytes may be faster than the kill.
    assert resumed[1] in (possible if point == "checkpoint" else possible | {"the checkpoint of step 6"})
    assert again.manifest.facts["restarts"] in (0, 1), "0 where no checkpoint was complete"
    assert losses(again) == losses(calm) and weights(again) == weights(calm) and audit(again) == consumed


@pytest.mark.faults
def test_the_best_weights_are_those_of_a_training_that_ended_there(ray_cluster: None, make_run: MakeRun) -> None:
    settings = {**CALM, "schedule": "constant", "warmup_fraction": 0, "learning_rate": 0.03, "validate_every_steps": 2}
    best = trained(make_run("best", **settings, keep="best", early_stop_patience=2, checkpoint_every_steps=100))
    steps = best.manifest.facts["steps"]
    validated = {s["step"]: s["validation_loss"] for s in steps if "validation_loss" in s}
    step = min(validated, key=lambda n: validated[n])
    assert best.manifest.facts["exported_step"] == step < steps[-1]["step"], validated
    ended_there = trained(make_run("there", **settings | {"max_steps": step}))
    assert ended_there.manifest.facts["exported_step"] == step and weights(best) == weights(ended_there)


@pytest.mark.faults
def test_a_run_does_not_train_on_with_other_settings(calm: Artifact, make_run: MakeRun) -> None:
    run = make_run("changed", **CALM)
    run_train(run)
    again = run.config
    again["training"] |= {"learning_rate": 5e-4, "warmup_fraction": 0.5, "max_failures": 9}
    run.create(run.store.root, again)
    with pytest.raises(ConfigError) as refused:
        run_train(run)
    for line in ("learning_rate was 0.001, is 0.0005", "warmup_fraction was 0.05, is 0.5"):
        assert f"training.{line}" in str(refused.value)
    assert "max_failures" not in str(refused.value), "it does not change the model"


def test_the_gate_stops_a_model_after_publishing_its_figures(calm: Artifact, make_run: MakeRun) -> None:
    run = make_run("gate", **CALM, evaluation={"splits": ("validation", "test"), "gate": gate_against_base(0.01)})
    run_train(run)
    for reused in (False, True):
        expected = pytest.raises(
            GateFailed, match=r"on test, perplexity [\d.]+ against the base [\d.]+: ratio .* limit 0\.01"
        )
        with expected, run.stage("evaluate") as record:
            evaluate(run, record)
        assert (record.reused, record.status) == (reused, "failed")
    found = run.artifact("evaluate", digests=True).manifest
    assert found.parents[0].id == calm.id
    measured = found.facts["splits"]["test"]
    assert measured["base"]["passages"] == measured["tuned"]["passages"] == 4
    assert measured["tuned"]["perplexity"] < measured["base"]["perplexity"]
    gate = gate_of(record)
    assert gate and not gate.passed and "gate" not in found.facts
    assert [(v.metric, v.against, v.passed) for v in gate.verdicts] == [
        ("perplexity", "base", False),
        ("bits_per_byte", "champion", True),  # there is none
    ]
    assert gate.verdicts[0].change == measured["ratio"]
    wide = make_run("wide", **CALM, evaluation={"splits": ("validation", "test"), "gate": gate_against_base(2)})
    run_train(wide)
    with wide.stage("evaluate") as record:
        evaluate(wide, record)
    assert record.reused and record.artifact == found.id, "another limit scores nothing again"
    gate = gate_of(record)
    assert gate and gate.passed and gate.verdicts[0].limit == 2


def test_lora_with_a_loss_and_a_model_class_of_ones_own_is_exported_merged_with_the_adapter_beside(
    ray_cluster: None, make_run: MakeRun, tiny_model: Path
) -> None:
    from peft import PeftModel

    from examples.own_step import RECIPE

    settings = {"method": "lora", "lora": {"rank": 4}, "learning_rate": 1e-2, "zero_stage": 2, "num_workers": 1}
    stop = {
        "validate_every_steps": 1,
        "early_stop_patience": 1,
        "warmup_fraction": 0.9,
        "checkpoint_every_seconds": 0.1,
    }
    run = make_run("lora", global_batch_tokens=64, max_steps=3, packing="padded", **settings, **stop)
    model = trained(run, RECIPE)
    adapter = Path(model.data, "adapter")
    assert json.loads((adapter / "adapter_config.json").read_text())["r"] == 4
    assert model.manifest.facts["trainable_parameters"] < model.manifest.facts["parameters"]
    assert model.manifest.facts["real_token_share"] < 1, "passages are padded"
    for part in ("smoothed_loss", "NoisyLlama"):
        assert f"examples.own_step.{part}" in json.dumps(model.manifest.config)
    assert json.loads(Path(model.data, "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]
    import torch

    torch.testing.assert_close(
        logits(PeftModel.from_pretrained(load(tiny_model), str(adapter))), logits(load(model.data))
    )
    assert not logits(load(model.data)).equal(logits(load(tiny_model)))


@pytest.mark.faults
def test_a_small_gptj_goes_through_the_loop_of_the_gptj_preset(
    ray_cluster: None, make_run: MakeRun, tiny_model: Path, tmp_path: Path
) -> None:
    """Six layers of it, bf16, ZeRO 3 and recomputed activations as in the preset; on CPU, so without offloading."""
    from transformers import GPTJConfig, GPTJForCausalLM

    sizes = {"n_embd": 32, "n_layer": 6, "n_head": 2, "rotary_dim": 8, "n_positions": 512, "vocab_size": 384}
    GPTJForCausalLM(GPTJConfig(**sizes, bos_token_id=0, eos_token_id=0)).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((tiny_model / name).read_bytes())
    preset = gptj().training.model_dump()
    kept = {k: preset[k] for k in ("method", "zero_stage", "precision", "activation_checkpointing", "weight_decay")}
    model = trained(make_run("gptj", base={"source": str(tmp_path)}, **kept, num_workers=1, learning_rate=1e-2))
    assert losses(model)[-1] < losses(model)[0]
    assert model.manifest.facts["zero_stage"] == 3 and model.manifest.facts["method"] == "full"
    assert load(model.data).config.model_type == "gptj"
