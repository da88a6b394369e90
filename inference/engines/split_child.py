"""The other end of ``split.py``: one rank of a split model."""

import dataclasses
import json
import os
import sys
from typing import Any

from handoff.tokenizer import ModelTokenizer
from inference.config import InferenceConfig
from inference.engines.transformers import TransformersEngine
from inference.engines.vllm_child import end_with_parent


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


def main() -> None:
    """Answer requests until standard input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not get between the answers
    end_with_parent()
    engine: TransformersEngine | None = None
    for line in sys.stdin:
        request = json.loads(line)
        result: Any = None
        try:
            if engine is None:
                engine = load(request)
            elif request.pop("task") == "generate":
                made = engine.generate(**request)
                result = [[dataclasses.astuple(answer) for answer in answers] for answers in made]
            else:
                result = engine.score(**request)
            reply: dict[str, Any] = {"result": result}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
