"""The transformers engine with its model split over several devices of a machine: tensor parallelism."""

import os
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engines.alone import Limits
from engines.batching import by_budget
from handoff.errors import ConfigError
from handoff.model_json import read_settings
from handoff.model_shape import Shape
from handoff.tokenizer import ModelTokenizer
from inference.config import InferenceConfig
from inference.engines.child import ChildEngine


def check_split(settings: Mapping[str, Any], devices: int) -> None:
    """See that a model can be split over so many devices.

    Args:
        settings: the model's ``config.json``.
        devices: ``tensor_parallel``.

    Raises:
        ConfigError: its attention heads cannot be dealt out evenly.
    """
    shape = Shape.of_config(settings)
    if shape is None or devices == 1:
        return
    if shape.heads % devices or shape.key_value_heads % devices:
        fits = [n for n in range(1, 65) if shape.heads % n == 0 and shape.key_value_heads % n == 0]
        raise ConfigError(
            f"inference.tensor_parallel is {devices}, the model has {shape.heads} attention heads and "
            f"{shape.key_value_heads} of keys and values, which must both be a multiple of it. "
            f"Remedy: set it to {' or '.join(map(str, fits))}"
        )


class SplitEngine(ChildEngine):
    """``tensor_parallel`` processes, each with its part of every layer; they go through the same steps in lockstep."""

    def __init__(self, config: InferenceConfig, model_dir: str, tokenizer: ModelTokenizer) -> None:
        check_split(read_settings(Path(model_dir, "config.json")), config.tensor_parallel)
        self._config = config
        setup = {
            "config": config.model_dump(mode="json"),
            "model": model_dir,
            "definition": tokenizer.definition,
            "stop_ids": list(tokenizer.stop_ids),
        }
        self._meeting = tempfile.TemporaryDirectory()
        command = [sys.executable, "-m", "inference.engines.split_child"]
        super().__init__("transformers, split", command, setup, self._ranks)

    def batches(self, lengths: Sequence[int], limits: Limits | None = None) -> list[list[int]]:
        """Rows of like length that may be answered together, as many as ``batch_tokens`` holds."""
        how = self._config
        return by_budget(lengths, how.max_new_tokens, how.batch_tokens // how.n, limits or self.limits)

    def close(self) -> None:
        super().close()
        self._meeting.cleanup()

    def _ranks(self) -> list[dict[str, str]]:
        """Environments of the processes, which find each other through a file: no port is opened for it."""
        os.makedirs(self._meeting.name, exist_ok=True)
        place = os.path.join(self._meeting.name, uuid.uuid4().hex)
        world = str(self._config.tensor_parallel)
        return [
            {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": world, "BATON_MEETING": place,
                "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            }
            for rank in range(self._config.tensor_parallel)
        ]  # fmt: skip
