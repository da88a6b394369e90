"""Which engine a plan advises, in one line: what was measured, and what was not."""

from inference.config import InferenceConfig

# Tokens per second of transformers and vLLM 0.32 on a CPU (`make bench-inference`): SmolLM2-135M, fp32, greedy, openings of
# 4 to 80 words whose answers end with a sentence.
ONE_CORE, TWO_CORES = (125, 213), (198, 330)
LONGER_START = 11  # seconds, of a replica with vLLM
WORTH_IT = 5400  # tokens of answers, from which on vLLM makes that up on two cores; on one core 3,300


def engine_advice(config: InferenceConfig) -> str:
    """The engine that suits the task and the devices, with the reason; says where the configuration has the other one."""
    if config.task == "score":
        advised = "transformers"
        why = "a score is one pass over given tokens, so vllm has no answers to interleave; not measured beside it"
    elif config.use_gpu:
        advised = "vllm"
        why = f"on GPUs it takes in a new prompt where an answer ends, and keeps shared prefixes{_shared(config)}; "
        why += "by its design, not measured here on a GPU"
    elif (most := _most_tokens(config)) is not None and most < WORTH_IT:
        advised = "transformers"
        why = f"at most {most:,} tokens of answers, and vllm takes {LONGER_START} s longer to start on a CPU"
    else:
        advised = "vllm"
        why = (
            f"on a CPU it made {ONE_CORE[1]} tokens/s to transformers' {ONE_CORE[0]} with one core, {TWO_CORES[1]} to "
            f"{TWO_CORES[0]} with two (SmolLM2-135M), and takes {LONGER_START} s longer to start; other models were not measured"
        )
    chosen = "" if config.engine == advised else f" (configured: {config.engine})"
    return f"engine {advised} advised{chosen}: {why}"


def _most_tokens(config: InferenceConfig) -> int | None:
    """Of all answers of the tuned model; None where a file says how many prompts there are."""
    if config.prompts is not None:
        return None
    from inference.openings import MODERN  # pyarrow

    return (config.held_out_prompts + len(MODERN)) * config.n * config.max_new_tokens


def _shared(config: InferenceConfig) -> str:
    """What the configuration says of prefixes that prompts share."""
    before = config.template.partition("{")[0]
    if config.n > 1:
        return f" ({config.n} answers to each prompt share one)"
    return f" (the template begins with {len(before):,} characters that all prompts have)" if before.strip() else ""
