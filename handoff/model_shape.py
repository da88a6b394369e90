"""Sizes of a decoder, from its ``config.json``: what memory and arithmetic follow from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GATED = ("silu", "swish", "swiglu", "gelu_pytorch_tanh")  # activations of models whose MLP has three matrices, not two


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder: what memory follows from.

    Attributes:
        hidden, layers, vocabulary: of the model.
        intermediate: width of the MLP.
        key_value: width of the keys, and of the values, over all their heads.
        heads, key_value_heads: of the attention.
        gated: the MLP has three matrices.
        tied: input and output embedding are one.
    """

    hidden: int
    layers: int
    vocabulary: int
    intermediate: int
    key_value: int
    heads: int
    key_value_heads: int
    gated: bool
    tied: bool

    @classmethod
    def of_config(cls, settings: Mapping[str, Any]) -> "Shape | None":
        """From a ``config.json``, by the names that Llama-like and GPT-like models use; None where they are others."""

        def find(*names: str) -> Any:
            return next((settings[n] for n in names if settings.get(n) is not None), None)

        hidden, layers = find("hidden_size", "n_embd"), find("num_hidden_layers", "n_layer")
        heads, vocabulary = find("num_attention_heads", "n_head"), settings.get("vocab_size")
        if not (hidden and layers and heads and vocabulary):
            return None
        head = settings.get("head_dim") or hidden // heads
        key_value_heads = settings.get("num_key_value_heads") or heads
        activation = find("hidden_act", "activation_function")
        return cls(
            hidden, layers, vocabulary, find("intermediate_size", "n_inner") or 4 * hidden,
            key_value_heads * head, heads, key_value_heads,
            gated=activation in GATED, tied=settings.get("tie_word_embeddings", settings.get("model_type") != "gptj"),
        )  # fmt: skip

    @property
    def parameters(self) -> int:
        """Weights of all matrices; biases and norms, under a thousandth, are left out."""
        return self.layers * self._layer + self.largest_layer * (1 if self.tied else 2)

    @property
    def key_value_numbers(self) -> int:
        """Numbers that each token of a text leaves in the cache of keys and values."""
        return 2 * self.layers * self.key_value

    @property
    def largest_layer(self) -> int:
        """Parameters of the embedding, which is the largest single module of these models."""
        return self.vocabulary * self.hidden

    @property
    def _layer(self) -> int:
        attention = 2 * self.hidden * self.hidden + 2 * self.hidden * self.key_value
        return attention + (3 if self.gated else 2) * self.hidden * self.intermediate

    def adapters(self, rank: int) -> int:
        """Parameters of LoRA adapters on all linear modules."""
        attention = 2 * 2 * self.hidden + 2 * (self.hidden + self.key_value)
        mlp = (3 if self.gated else 2) * (self.hidden + self.intermediate)
        return self.layers * rank * (attention + mlp)
