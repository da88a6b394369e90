"""Answers with vLLM, which runs in an environment of its own: its pins of torch and transformers are not ours."""

import os
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

from handoff.errors import ConfigError
from handoff.home import PROJECT
from handoff.model_json import read_settings
from handoff.model_shape import Shape
from handoff.positions import positions_of
from handoff.tokenizer import ModelTokenizer
from inference.config import InferenceConfig
from inference.engines.base import Answer
from inference.engines.child import ChildEngine
from inference.engines.sampling import sample_seeds

VARIABLE = "BATON_VLLM_PYTHON"  # interpreter of the environment, where it is not the one that make vllm-env makes
CHILD = Path(__file__).with_name("vllm_child.py")


def vllm_python() -> str:
    """The interpreter of vLLM's environment on this machine.

    Raises:
        ConfigError: there is none.
    """
    python = Path(os.environ.get(VARIABLE) or PROJECT / ".venv-vllm" / "bin" / "python")
    if not python.is_file():
        raise ConfigError(
            f"engine vllm: no environment at {python}. Remedy: `make vllm-env` makes one for CPUs; on GPUs, install "
            f"vllm into an environment and set {VARIABLE} to its python on every machine"
        )
    return str(python)


class VllmEngine(ChildEngine):
    """vLLM in a process of its own. It makes its batches itself, from all rows of a window, and reuses prefixes."""

    def __init__(self, config: InferenceConfig, model_dir: str, tokenizer: ModelTokenizer) -> None:
        self._n = config.n
        settings = read_settings(Path(model_dir, "config.json"))
        longest = config.max_prompt_tokens + config.max_new_tokens + 1
        how = config.sampling
        setup: dict[str, Any] = {
            "model": model_dir,
            "dtype": config.weights_dtype,
            "eager": not config.use_gpu,  # a CPU has no graph to capture
            "tensor_parallel": config.tensor_parallel,
            "max_tokens": min(longest, positions_of(settings) or longest),
            "max_new_tokens": how.max_new_tokens,
            "temperature": how.temperature,
            "top_p": how.top_p,
            "stop": list(how.stop),
            "stop_ids": list(tokenizer.stop_ids),
            "logprobs": how.logprobs,
            "options": {},
        }
        environment = {
            "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR",
            "PYTHONPATH": "", "PYTHONSAFEPATH": "1",  # what it imports is its own, not modules beside the script
        }  # fmt: skip
        if not config.use_gpu:
            environment |= {
                "VLLM_CPU_KVCACHE_SPACE": str(cache_gib(settings, max(config.batch_tokens, longest))),
                "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # else all actors of a machine bind to the same cores
                "OMP_NUM_THREADS": str(max(1, int(config.cpus_per_actor))),
            }
        if config.tensor_parallel == 1:
            environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        super().__init__("vLLM", [vllm_python(), str(CHILD)], setup, lambda: [environment])

    def generate(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int]) -> list[list[Answer]]:
        """One batch. At a temperature above 0 the same seed gives the same answer, but another than transformers'."""
        every = [sample_seeds(seed, self._n) for seed in seeds]
        made = self._ask({"task": "generate", "prompts": [list(p) for p in prompts], "seeds": every})
        return [[Answer(*answer) for answer in answers] for answers in made]


def cache_gib(settings: dict[str, Any], tokens: int) -> int:
    """Whole GiB of vLLM's cache of keys and values on a CPU, in fp32."""
    shape = Shape.of_config(settings)
    return max(1, ceil(4 * shape.key_value_numbers * tokens / 2**30)) if shape else 4
