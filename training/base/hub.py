"""A base model on the Hugging Face hub: its small files, the headers of its weights, and the whole of it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from handoff.errors import EngineUnavailable, SourceError
from training.base.weight_files import Tensor, headers, weight_names
from training.config import BaseModelConfig

# Configuration, index of weights and tokenizer: a few megabytes at most.
SMALL = ("*.json", "tokenizer.model", "vocab.txt", "merges.txt", "*.jinja")


def is_hub_id(source: str) -> bool:
    """``owner/name`` that is no directory here; whatever looks like a path is one."""
    return not source.startswith((".", "/", "~")) and source.count("/") <= 1 and not Path(source).exists()


def small_files(config: BaseModelConfig) -> Path:
    """A local directory with the model's configuration and tokenizer; its weights are there where they were fetched before."""
    from huggingface_hub import hf_hub_download, snapshot_download

    _ask(config, lambda: hf_hub_download(config.source, "config.json", revision=config.revision))
    return Path(
        _ask(config, lambda: snapshot_download(config.source, revision=config.revision, allow_patterns=list(SMALL)))
    )


def weight_headers(config: BaseModelConfig, directory: Path) -> dict[str, Tensor] | None:
    """Every tensor of the model by name, from the headers of its safetensors files; None for pickled weights, which have none.

    Args:
        config: which model.
        directory: from :func:`small_files`; files that were fetched before are read there.
    """
    from huggingface_hub import HfApi

    ask = HfApi().parse_safetensors_file_metadata
    found: dict[str, Tensor] = {}
    for name in weight_names(directory, _names(config, directory)):
        if (directory / name).is_file():
            found |= headers([directory / name])
        elif not name.endswith(".safetensors"):
            return None
        else:
            parsed = _ask(config, partial(ask, config.source, name, revision=config.revision))
            found |= {key: Tensor(t.dtype, tuple(t.shape)) for key, t in parsed.tensors.items()}
    return found


def snapshot(config: BaseModelConfig) -> Path:
    """A local directory with the model's small files and exactly the weights that transformers loads."""
    from huggingface_hub import snapshot_download

    directory = small_files(config)
    patterns = [*SMALL, *weight_names(directory, _names(config, directory))]
    return Path(
        _ask(config, lambda: snapshot_download(config.source, revision=config.revision, allow_patterns=patterns))
    )


def _names(config: BaseModelConfig, directory: Path) -> set[str]:
    """Names of the model's files; offline those that an earlier download left."""
    from huggingface_hub import HfApi

    try:
        siblings = HfApi().model_info(config.source, revision=config.revision).siblings
    except OSError:
        return {file.name for file in directory.iterdir()}
    return {s.rfilename for s in siblings or ()}


def _ask(config: BaseModelConfig, fetch: Callable[[], Any]) -> Any:
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        NotASafetensorsRepoError,
        SafetensorsParsingError,
    )

    which = f"{config.source}" + (f" at revision {config.revision}" if config.revision else "")
    try:
        return fetch()
    except LocalEntryNotFoundError as error:
        if not constants.HF_HUB_OFFLINE:
            raise _away(which, "it cannot be reached") from error
        reason, remedy = "is not in the local cache and the hub cannot be reached", "go online, or give a directory"
    except EntryNotFoundError:
        reason, remedy = "has no config.json", "choose a transformers model"
    except (NotASafetensorsRepoError, SafetensorsParsingError) as error:
        reason, remedy = f"has damaged weights ({error})", "choose another revision"
    except (OSError, HFValidationError) as error:  # unknown id or revision, gated, no network
        first = str(error).strip().split("\n")[0]
        if isinstance(error, HfHubHTTPError) and error.response.status_code in (429, 500, 502, 503, 504):
            raise _away(which, first) from error
        reason, remedy = (
            f"cannot be fetched from the hub ({first})",
            "correct training.base.source, or give a directory",
        )
    raise SourceError(f"base model {which} {reason}. Remedy: {remedy}")


def _away(which: str, reason: str) -> EngineUnavailable:
    return EngineUnavailable(
        f"base model {which} is not in the local cache, and the hub does not give it: {reason}. "
        "Remedy: check network and proxy, or give a directory"
    )
