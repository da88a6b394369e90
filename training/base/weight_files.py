"""The weight files that transformers would load from a directory, and the names and shapes in their headers."""

import math
import pickle
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handoff.errors import SourceError
from handoff.model_json import AGAIN, LFS_POINTER, read_settings, refuse_lfs

PART_NUMBERS = 2**26  # of a tensor that are in memory at a time when it is looked through: 256 MiB of fp32
SAFE, PICKLED = "model.safetensors", "pytorch_model.bin"


@dataclass(frozen=True)
class Tensor:
    """A tensor of a file's header; ``dtype`` by safetensors' name, such as ``BF16``."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def numel(self) -> int:
        return math.prod(self.shape)


def weight_names(directory: Path, present: Collection[str] | None = None) -> list[str]:
    """Names of the files that ``from_pretrained`` reads: one file, or the shards of an index; safetensors come first.

    Other weights that lie beside (``consolidated.safetensors``, another precision, an optimizer's state) are none of them.

    Args:
        directory: holds the index, where there is one.
        present: the files that there are; unset: those of the directory.

    Raises:
        SourceError: there are no weights, or an index names shards that are missing.
    """
    found = set(present) if present is not None else {f.name for f in directory.iterdir() if f.is_file()}
    for single in (SAFE, PICKLED):
        if single in found:
            return [single]
        if (index := f"{single}.index.json") in found:
            return _shards(directory / index, found)
    raise SourceError(f"{directory} holds no weights ({SAFE}, or its shards and their index). {AGAIN}")


def _shards(index: Path, found: set[str]) -> list[str]:
    try:
        names = sorted({str(name) for name in read_settings(index)["weight_map"].values()})
    except (KeyError, AttributeError, TypeError):
        raise SourceError(f"{index} is no index of weights. {AGAIN}") from None
    if missing := [name for name in names if name not in found]:
        raise SourceError(
            f"{index.parent} lacks {listed(missing)} of the {len(names)} shards that {index.name} names. {AGAIN}"
        )
    return names


def headers(files: Collection[Path]) -> dict[str, Tensor]:
    """Every tensor of these files by name; nothing of the weights is read.

    Raises:
        SourceError: a file is a Git-LFS pointer, cut short, or no file of weights.
    """
    tensors: dict[str, Tensor] = {}
    for file in files:
        refuse_pointer(file)
        tensors |= _safetensors(file) if file.suffix == ".safetensors" else _pickled(file)
    return tensors


def refuse_not_finite(files: Collection[Path]) -> None:
    """See that every value of these files is a number: one that is none is the loss of the first step.

    A tensor is read PART_NUMBERS at a time (in a pickled file whole, from the mapped file).

    Raises:
        SourceError: naming the file and the first tensor with another value.
    """
    import torch

    for file in files:
        for name, parts in _parts(file):
            if count := sum(int((~torch.isfinite(part)).sum()) for part in parts if part.is_floating_point()):
                raise not_finite(str(file), name, count)


def not_finite(where: str, name: str, count: int) -> SourceError:
    """The error of weights that are not numbers."""
    return SourceError(
        f"{where}: the tensor {name} has {count:,} values that are no numbers (NaN or infinity), so every loss would be one. "
        "Remedy: fetch the model again, or choose another base model"
    )


def _parts(file: Path) -> Iterator[tuple[str, Iterator[Any]]]:
    if file.suffix != ".safetensors":
        import torch

        state = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
        yield from ((name, iter([tensor])) for name, tensor in state.items())
        return
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        for name in opened.keys():  # noqa: SIM118
            part = opened.get_slice(name)
            shape = part.get_shape()
            if not shape or 0 in shape:
                yield name, iter([opened.get_tensor(name)])
                continue
            rows = max(1, PART_NUMBERS // max(1, math.prod(shape[1:])))
            yield name, (part[at : at + rows] for at in range(0, shape[0], rows))


def refuse_pointer(file: Path) -> None:
    """Raise SourceError where a clone without Git LFS left a pointer in a file's place."""
    with file.open("rb") as stream:
        refuse_lfs(stream.read(len(LFS_POINTER)), str(file))


def _safetensors(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
            return {name: Tensor(part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
    except SafetensorError as error:
        size = file.stat().st_size
        raise SourceError(f"{file} ({size:,} bytes) is cut short or no safetensors file ({error}). {AGAIN}") from None


def _pickled(file: Path) -> dict[str, Tensor]:
    """Of a ``torch.save`` file: nothing that it could run is run, and storages are skipped."""
    import torch

    try:
        state: Any = torch.load(file, map_location="meta", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, MemoryError) as error:
        first = str(error).strip().split("\n")[0]
        raise SourceError(
            f"{file} ({file.stat().st_size:,} bytes) is cut short or holds more than tensors ({first}). {AGAIN}, "
            "or save it with save_pretrained, which writes safetensors"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise SourceError(
            f"{file} is no dictionary of tensors. Remedy: give the weights alone (a checkpoint's model part), saved with "
            "save_pretrained"
        )
    return {name: Tensor(_safe_name(value.dtype), tuple(value.shape)) for name, value in state.items()}


def _safe_name(dtype: Any) -> str:
    from transformers.modeling_utils import str_to_torch_dtype

    return next((name for name, known in str_to_torch_dtype.items() if known == dtype), str(dtype))


def listed(names: Collection[str], most: int = 4) -> str:
    """``a, b, c, d and 12 more``."""
    first = ", ".join(sorted(names)[:most])
    return f"{first} and {len(names) - most} more" if len(names) > most else first
