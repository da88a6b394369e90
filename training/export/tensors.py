"""Every tensor of a model in a few numbers for each of its rows, so that an export can be compared with what was trained.

A row's norm and its product with a fixed random vector tell rows apart whatever differs in them; both take 8 bytes for a row,
12 MB for a model of 6 billion parameters. Tensors are gathered one at a time and read in parts of PART_NUMBERS.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

PART_NUMBERS = 2**26  # of a tensor that are held in fp32 at a time: 256 MiB
# Of a row's norm. Seen: equal where nothing was merged, 1e-7 for merged adapters in fp32 and 4e-3 in bf16, whose own rounding
# is that large; another row of an embedding 0.5 and more.
LARGEST_DIFFERENCE = {"fp32": 1e-4, "bf16": 3e-2}
WRAPPED = "base_model.model."  # what PEFT puts before names


def rows_of_tensor(tensor: Any) -> Any:
    """Norm of each row and its product with a random vector; float32 array [rows, 2]. A vector is one row."""
    import torch

    rows = tensor.detach().reshape(-1, tensor.shape[-1] if tensor.dim() else 1)
    generator = torch.Generator().manual_seed(rows.shape[1])
    vector = torch.randn(rows.shape[1], generator=generator).to(rows.device)
    parts = []
    for part in rows.split(max(1, PART_NUMBERS // max(1, rows.shape[1]))):
        numbers = part.float()
        parts.append(torch.stack([numbers.norm(dim=1), (numbers * vector).sum(1)], 1).cpu())
    return torch.cat(parts).numpy()


def noted(model: Any, rank: int, *, zero_stage: int) -> dict[str, Any]:
    """What :func:`differences` needs of a trained module, on rank 0; every rank calls it.

    Args:
        model: the module inside the engine; adapters count as merged.
        rank: world rank.
        zero_stage: 3 gathers each tensor from its shards, one at a time.

    Returns:
        ``tensors``: name → number of rows, as JSON values; ``tensor_rows``: the rows of all of them, an array.
    """
    rows: dict[str, Any] = {}
    for name, tensor in _merged_tensors(model, zero_stage):
        if rank == 0:
            rows[name] = rows_of_tensor(tensor)
    if not rows:
        return {}
    return {
        "tensors": {name: len(found) for name, found in rows.items()},
        "tensor_rows": np.concatenate([*rows.values()]),
    }


def differences(model: Any, request: dict[str, Any]) -> list[str]:
    """Tensors of an exported model that are not those of :func:`noted`, and those that only one of the two has.

    Args:
        model: as plain transformers loads it.
        request: with ``tensors``, ``tensor_rows`` and ``precision``.
    """
    found = dict(_tensors(model))
    begins = np.cumsum([0, *request["tensors"].values()])
    problems = []
    limit = LARGEST_DIFFERENCE[request["precision"]]
    for (name, count), begin in zip(request["tensors"].items(), begins, strict=False):
        if name not in found:
            problems.append(f"it has no tensor {name}")
            continue
        learnt, exported = request["tensor_rows"][begin : begin + count], rows_of_tensor(found.pop(name))
        if exported.shape != learnt.shape:
            problems.append(f"the tensor {name} has {len(exported)} rows, in training it had {count}")
            continue
        wrong = ~(np.abs(exported - learnt).max(1) <= limit * learnt[:, 0] + 1e-6)  # a NaN is wrong
        if wrong.any():
            problems.append(
                f"the tensor {name} is not the trained one: {int(wrong.sum())} of {count} rows differ, the first is "
                f"{int(wrong.argmax())}"
            )
    names = {name for name, _ in model.named_parameters()}
    return [*problems, *(f"training had no tensor {name}" for name in sorted(found.keys() & names))]


def _tensors(model: Any) -> Iterator[tuple[str, Any]]:
    """Parameters, tied ones once for each of their names, and the buffers that files hold."""
    yield from model.named_parameters(remove_duplicate=False)
    for prefix, module in model.named_modules():
        for name, buffer in module.named_buffers(recurse=False):
            if name not in module._non_persistent_buffers_set and buffer.is_floating_point():
                yield f"{prefix}.{name}" if prefix else name, buffer


def _merged_tensors(model: Any, zero_stage: int) -> Iterator[tuple[str, Any]]:
    """Every tensor of the base model's class, by its name there, with the adapters merged; whole while it is held."""
    import deepspeed
    import torch

    adapters: dict[str, Any] = {}  # by the name of the tensor that they change
    if hasattr(model, "get_base_model"):
        from peft.tuners.lora import LoraLayer

        for path, module in model.named_modules():
            if isinstance(
                module, LoraLayer
            ):  # experts are parameters of one module, which wrappers hold inside each other
                adapters[_own_name(f"{path}.{getattr(module, 'parameter_name', 'weight')}")] = module
    for name, tensor in _tensors(model):
        if ".lora_" in name:
            continue
        own = _own_name(name)
        module = adapters.get(own)
        parts = [] if module is None else [p for n, p in module.named_parameters() if n.startswith("lora_")]
        needed = [tensor, *parts]
        sharded = zero_stage == 3 and all(hasattr(p, "ds_id") for p in needed)
        with deepspeed.zero.GatheredParameters(needed) if sharded else contextlib.nullcontext(), torch.no_grad():
            yield own, tensor if module is None else tensor + module.get_delta_weight("default").to(tensor.dtype)


def _own_name(name: str) -> str:
    """The name that a tensor of a PEFT model has in the base model's class."""
    return name.removeprefix(WRAPPED).replace(".base_layer", "")
