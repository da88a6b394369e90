"""Which engine a plan advises, in one line: what was measured, and what was not."""

from inference.config import InferenceConfig

# Tokens per second on two cores of transformers and vLLM 0.32: SmolLM2-135M, fp32, greedy, 64 prompts, 40 tokens each.
ALIKE = (307, 236)  # prompts of one length, a batch of 64
MIXED = (150, 135)  # prompts of 6 to 120 tokens, sorted by length


def engine_advice(config: InferenceConfig) -> str:
    """The engine that suits the task and the devices, with the reason; says where the configuration has the other one."""
    if config.task == "score":
        advised = "transformers"
        why = "a score is one pass over given tokens, so vllm has no answers to interleave; not measured beside it"
    elif config.use_gpu:
        advised = "vllm"
        why = f"on GPUs it takes in a new prompt where an answer ends, and keeps shared prefixes{_shared(config)}; "
        why += "by its design, not measured here on a GPU"
    else:
        advised = "transformers"
        why = (
            f"on CPUs large batches of like lengths made {ALIKE[0]} tokens/s to vllm's {ALIKE[1]}, mixed lengths {MIXED[0]} "
            f"to {MIXED[1]}; answers of very different lengths and shared prefixes were not measured"
        )
    chosen = "" if config.engine == advised else f" (configured: {config.engine})"
    return f"engine {advised} advised{chosen}: {why}"


def _shared(config: InferenceConfig) -> str:
    """What the configuration says of prefixes that prompts share."""
    before = config.template.partition("{")[0]
    if config.n > 1:
        return f" ({config.n} answers to each prompt share one)"
    return f" (the template begins with {len(before):,} characters that all prompts have)" if before.strip() else ""
