"""Linear layers through oneDNN: the same logits, where a family lets them be exchanged."""

from typing import Any

from inference.engines.onednn import to_onednn
from tests.training.families import build


def linears(model: Any) -> int:
    import torch

    return sum(type(module) is torch.nn.Linear for module in model.modules())


def logits(model: Any, ids: Any) -> Any:
    import torch

    with torch.inference_mode():
        return model(input_ids=ids).logits


def test_every_linear_layer_is_converted_and_no_logit_changes() -> None:
    import torch

    model: Any = build("llama")
    ids = torch.arange(2, 20).reshape(2, 9)
    expected = logits(model, ids)
    assert linears(model) > 1
    assert to_onednn(model)
    assert linears(model) == 0
    found = logits(model, ids)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_layer_derived_from_linear_stays() -> None:
    import torch

    class Doubled(torch.nn.Linear):
        """A layer of one's own, as routers of experts are."""

        def forward(self, inputs: Any) -> Any:
            return 2 * super().forward(inputs)

    model: Any = build("llama")
    plain = model.lm_head
    model.lm_head = Doubled(plain.in_features, plain.out_features, bias=False)
    assert to_onednn(model)
    assert type(model.lm_head) is Doubled


def test_a_model_that_reads_the_weights_of_its_layers_is_told_of() -> None:
    assert not to_onednn(build("mamba"))


def test_a_model_that_answers_otherwise_afterwards_is_told_of() -> None:
    """A pre-hook of a layer is lost with it, and with it what it does."""
    model: Any = build("llama")
    model.lm_head.register_forward_pre_hook(lambda _module, given: (given[0] + 1,))
    assert not to_onednn(model)


def test_a_model_that_needs_more_than_ids_stays_as_it_is() -> None:
    model: Any = build("llama")
    model.register_forward_pre_hook(lambda _module, _args, given: given["attention_mask"], with_kwargs=True)
    before = linears(model)
    assert to_onednn(model) and linears(model) == before > 1
