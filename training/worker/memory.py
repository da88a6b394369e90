"""Out-of-memory errors that list the settings to change, cheapest first."""

import contextlib
from collections.abc import Iterator

from handoff.errors import CapacityError
from training.config import TrainingConfig


class OutOfMemory(CapacityError):
    """A worker ran out of memory; the message lists what lowers its need, the cheapest first."""


@contextlib.contextmanager
def explain_out_of_memory(config: TrainingConfig) -> Iterator[None]:
    """Turn a failed allocation, on GPU or host, into :class:`OutOfMemory`."""
    import torch

    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0]
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and "can't allocate memory" not in reason:
            raise
        where = "GPU" if isinstance(error, torch.OutOfMemoryError) else "host"
        raise OutOfMemory(
            f"a worker ran out of {where} memory ({reason[:200]}). Remedy, the cheapest first: {'; '.join(knobs(config))}"
        ) from error


def knobs(config: TrainingConfig) -> list[str]:
    """Settings that would lower memory and are not yet used up, in the order to try them."""
    found = []
    if config.micro_batch_size > 1:
        found.append(
            f"training.micro_batch_size {config.micro_batch_size // 2} with global_batch_tokens {config.tokens_per_step} "
            "(same steps, more passes)"
        )
    if not config.activation_checkpointing:
        found.append("activation_checkpointing true (a third more time)")
    if config.precision == "fp32" and config.use_gpu:
        found.append("precision bf16")
    if config.zero_stage < 3 and config.num_workers > 1:
        found.append(f"zero_stage {config.zero_stage + 1} (more traffic)")
    if config.use_gpu and not config.offload_optimizer:
        found.append("offload_optimizer true (slower, needs host memory)")
    if config.use_gpu and not config.offload_parameters:
        found.append("zero_stage 3 with offload_parameters true (slowest)")
    if config.method == "full":
        found.append("method lora (another kind of model)")
    found.append(f"seq_len below {config.seq_len} (passages are cut into more pieces)")
    found.append("more workers, or workers with more memory")
    return found
