"""From a configuration to a loaded engine."""

from handoff.tokenizer import ModelTokenizer
from inference.config import InferenceConfig
from inference.engines.base import Engine
from inference.engines.transformers import TransformersEngine


def load_engine(config: InferenceConfig, model_dir: str, tokenizer: ModelTokenizer) -> Engine:
    """Load a model.

    Args:
        config: the engine, the device and the sampling.
        model_dir: Hugging Face directory of the model.
        tokenizer: says which tokens end an answer.
    """
    return TransformersEngine(config, model_dir, tokenizer)
