"""The other end of ``split.py``: one rank of a split model."""

import dataclasses
import os
from typing import Any

from handoff.tokenizer import ModelTokenizer
from inference.config import InferenceConfig
from inference.engines.transformers import TransformersEngine
from inference.engines.vllm_child import serve


def load(setup: dict[str, Any]) -> TransformersEngine:
    """Join the group and load this rank's part of the model."""
    import torch
    import torch.distributed as dist

    config = InferenceConfig.model_validate(setup["config"])
    rank = int(os.environ["RANK"])
    if config.use_gpu:
        torch.cuda.set_device(rank)
    dist.init_process_group(
        "nccl" if config.use_gpu else "gloo", init_method=f"file://{os.environ['BATON_MEETING']}",
        rank=rank, world_size=config.tensor_parallel,
    )  # fmt: skip
    tokenizer = ModelTokenizer(setup["definition"], tuple(setup["stop_ids"]))
    return TransformersEngine(config, setup["model"], tokenizer)


class Rank:
    """One part of the split model, with answers as JSON holds them."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self._engine = load(setup)

    def limits(self) -> dict[str, Any]:
        return dataclasses.asdict(self._engine.limits)

    def generate(self, **request: Any) -> list[list[tuple[Any, ...]]]:
        return [[dataclasses.astuple(answer) for answer in answers] for answers in self._engine.generate(**request)]

    def score(self, **request: Any) -> list[list[float]]:
        return self._engine.score(**request)


if __name__ == "__main__":
    serve(Rank)
