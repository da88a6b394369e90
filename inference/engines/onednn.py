"""Linear layers on a CPU through oneDNN, weights in its own order. In float32 torch itself calls MKL, which on AMD's
processors is half as fast or less; its compiler makes the same two calls as this module.
"""

from typing import Any

ROWS = 64  # of a batch; the order of the weights that oneDNN finds best for so many
CLOSE = 1e-3  # of logits, relative to the largest: two libraries round at 1e-6; another computation is nowhere near


def to_onednn(model: Any) -> bool:
    """Convert a float32 model's linear layers in place, one by one, so that weights are never there twice.

    Layers of a class derived from ``Linear`` stay, as they may compute something else. A model that does not answer to
    token ids alone stays as it is.

    Returns:
        Whether the model answers as before. If not (mamba's code reads the weights of its linear layers by itself), it is of
        no use and has to be loaded again.
    """
    import torch

    if not torch.backends.mkldnn.is_available():
        return True
    ids = torch.arange(1, 9)[None] % model.config.get_text_config().vocab_size
    try:
        with torch.inference_mode():
            expected = model(input_ids=ids).logits
    except Exception:  # whatever a family's code says of a call without more
        return True
    try:
        packed = _packed_linear()
        for module in list(model.modules()):
            for name, layer in module.named_children():
                if type(layer) is torch.nn.Linear:
                    setattr(module, name, packed(layer))
        with torch.inference_mode():
            found = model(input_ids=ids).logits
    except Exception:  # also of a torch without these calls
        return False
    return bool((found - expected).abs().max() <= CLOSE * expected.abs().max())


def _packed_linear() -> Any:
    """The class of modules that compute what a linear layer does."""
    import torch

    calls: Any = torch.ops.mkldnn

    class PackedLinear(torch.nn.Module):
        def __init__(self, layer: Any) -> None:
            super().__init__()
            self.weight = torch.nn.Buffer(calls._reorder_linear_weight(layer.weight.detach(), ROWS))
            self.bias = layer.bias

        def forward(self, inputs: Any) -> Any:
            return calls._linear_pointwise(inputs, self.weight, self.bias, "none", [], "")

    return PackedLinear
