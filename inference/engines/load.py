"""From a configuration to a loaded engine."""

from handoff.tokenizer import ModelTokenizer
from inference.config import InferenceConfig
from inference.engines.base import Engine
from inference.engines.split import SplitEngine
from inference.engines.transformers import TransformersEngine
from inference.engines.vllm import VllmEngine


def load_engine(config: InferenceConfig, model_dir: str, tokenizer: ModelTokenizer) -> Engine:
    """Load a model.

    Args:
        config: the engine, the devices and the sampling.
        model_dir: Hugging Face directory of the model.
        tokenizer: says which tokens end an answer.

    Raises:
        ConfigError: vLLM has no environment on this machine, or the model cannot be split over so many devices.
    """
    if config.engine == "vllm":
        return VllmEngine(config, model_dir, tokenizer)
    if config.tensor_parallel > 1:
        return SplitEngine(config, model_dir, tokenizer)
    return TransformersEngine(config, model_dir, tokenizer)
