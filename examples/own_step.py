"""A training step of your own: a loss and a model class. ``python -m examples.own_step RUN_DIR`` trains with both.

Everything else stays as in ``python -m training.job RUN_DIR``: data, sharding, checkpoints, restarts, export. Names and
source of what is replaced are part of the model's id, so a changed step makes a new model. In the DAG, name this module
in place of ``training.job``. Leave out of the recipe what is to stay as it is.
"""

import functools
import sys
from typing import Any

from transformers import LlamaForCausalLM  # noqa: TID253 - only the training's processes import this module

from handoff.job import run_stage
from training.data.packing import IGNORED
from training.job import train
from training.recipe import Batch, Recipe, inputs_of

SMOOTHING = 0.1
NOISE = 5.0


def smoothed_loss(model: Any, batch: Batch) -> Any:
    """Cross-entropy against targets of which a tenth is spread over the vocabulary (Szegedy et al., 2016).

    Args, and what to return: see :func:`training.recipe.next_token_loss`, which this replaces.
    """
    import torch

    logits = model(**inputs_of(batch), use_cache=False).logits
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(),
        batch["labels"][:, 1:].flatten(),
        ignore_index=IGNORED,
        reduction="sum",
        label_smoothing=SMOOTHING,
    )


class NoisyLlama(LlamaForCausalLM):
    """Llama with noise on its embeddings while it trains (NEFTune, Jain et al., 2023); SmolLM2 is one.

    It has Llama's parameters under Llama's names, so the model that comes out is a plain one.
    """

    def forward(
        self, input_ids: Any = None, position_ids: Any = None, inputs_embeds: Any = None, **settings: Any
    ) -> Any:
        """As Llama's; ``position_ids`` must be named here: documents that share a block are told apart by them."""
        import torch

        embeddings = self.get_input_embeddings()(input_ids) if inputs_embeds is None else inputs_embeds
        if self.training:
            scale = NOISE / (embeddings.shape[1] * embeddings.shape[2]) ** 0.5
            embeddings = embeddings + torch.empty_like(embeddings).uniform_(-scale, scale)
        return super().forward(inputs_embeds=embeddings, position_ids=position_ids, **settings)


RECIPE = Recipe(loss=smoothed_loss, model_class=NoisyLlama)

if __name__ == "__main__":
    sys.exit(run_stage("train", functools.partial(train, recipe=RECIPE, track=True), sys.argv[1:]))
