"""A model class of one's own: loaded with the base's weights, and refused where the export could not hold it."""

from pathlib import Path

import pytest

from handoff.errors import ConfigError
from training.config import BaseModelConfig, TrainingConfig
from training.recipe import DEFAULT_RECIPE, Recipe
from training.worker.model import load_model


def config(directory: Path) -> TrainingConfig:
    return TrainingConfig(base=BaseModelConfig(source=str(directory)), method="full", zero_stage=0, num_workers=1)


def test_the_class_has_the_bases_weights_and_its_own_forward(tiny_model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from examples.own_step import NoisyLlama

    model = load_model(str(tiny_model), config(tiny_model), 1, NoisyLlama)
    assert isinstance(model, NoisyLlama) and model.training
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.0  # the only other noise
    tokens = torch.arange(8)[None]
    with torch.no_grad():
        assert not torch.equal(model(input_ids=tokens).logits, model(input_ids=tokens).logits)
        plain = AutoModelForCausalLM.from_pretrained(tiny_model).eval()(input_ids=tokens).logits
        torch.testing.assert_close(model.eval()(input_ids=tokens).logits, plain)


def test_a_class_with_parameters_that_the_export_has_no_place_for_is_refused(tiny_model: Path) -> None:
    import torch
    from transformers import LlamaForCausalLM

    class WithHead(LlamaForCausalLM):
        def __init__(self, settings: object) -> None:
            super().__init__(settings)
            self.value_head = torch.nn.Linear(4, 1)

    with pytest.raises(ConfigError, match=r"WithHead and .*parameters value_head\.bias, value_head\.weight\. Remedy"):
        load_model(str(tiny_model), config(tiny_model), 1, WithHead)


def test_only_what_is_not_ours_is_part_of_the_models_id() -> None:
    from examples.own_step import RECIPE, NoisyLlama

    assert DEFAULT_RECIPE.identity() == {}
    assert Recipe(model_class=NoisyLlama).identity().keys() == {"model_class"}
    own = RECIPE.identity()
    assert own["loss"]["name"] == "examples.own_step.smoothed_loss"
    assert own["model_class"]["name"] == "examples.own_step.NoisyLlama"
    assert own["loss"]["sha256"] != own["model_class"]["sha256"]
