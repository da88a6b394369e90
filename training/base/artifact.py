"""The pretrained model: looked into by the plan, and published as an artifact from a directory, the hub or a GGUF file."""

import contextlib
import fnmatch
import functools
import importlib.util
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handoff.artifact import Artifact
from handoff.errors import SourceError
from handoff.facts import BaseModelFacts, RawFacts
from handoff.model_json import of_type, read_settings, wrong
from handoff.model_shape import Shape
from handoff.positions import refuse_too_long
from handoff.publish import NO_CODE, Staging, describe_in_place, obtain
from handoff.store import Store
from training.base import gguf, hub
from training.base.fit_check import check_generation_settings, check_tokenizer, refuse_targets
from training.base.model_check import compare, count_parameters, make_model, quiet, refuse_by_settings
from training.base.weight_files import Tensor, headers, refuse_not_finite, refuse_pointer, weight_names
from training.config import BaseModelConfig, TrainingConfig
from training.counts import Counts, counts_by_sizes, counts_of
from training.files import put_directory

CAUSAL = ("ForCausalLM", "LMHeadModel")
ADAPTER = "adapter_config.json"
# Of weights that are read for values that are no numbers: it takes seconds. Workers look as they load, whatever the size.
SCANNED_BYTES = 8 << 30
CONVERSION_VERSION = 0  # raise it when the same GGUF file gives other weights or files


@dataclass(frozen=True)
class Seen:
    """A base model that was looked into.

    Attributes:
        line: what it is, for people.
        settings: its ``config.json``; empty where that is not known without transformers.
        model: its class on the meta device; None where torch is not installed.
    """

    line: str
    settings: Mapping[str, Any]
    model: Any = None


def look_into(config: BaseModelConfig, cache: Path) -> Seen:
    """Look into the base model without loading it, before a run begins; of a hub id configuration and headers are fetched.

    Args:
        config: which model.
        cache: where a package's file is kept.

    Raises:
        SourceError: it is missing, cannot be fetched, has another sha256, is no causal language model, its files are
            not the weights that its configuration asks for, or its tokenizer does not load.
        EngineUnavailable: the hub does not answer.
    """
    if config.source.startswith("package:"):
        return _look_into_package(config, cache)
    if not hub.is_hub_id(config.source):
        return _look_into_directory(Path(config.source).absolute(), config.source)
    if not _installed("huggingface_hub"):
        return Seen(
            f"{config.source}; it is looked into when training starts: huggingface_hub is not installed here", {}
        )
    directory = hub.small_files(config)
    _read_settings(directory)
    return _look_into(directory, config.source, lambda: hub.weight_headers(config, directory))


def check_fit(seen: Seen, config: TrainingConfig, lengths: Mapping[str, int]) -> str | None:
    """See that a run's settings fit its base model.

    Args:
        seen: the model.
        config: the training section.
        lengths: other lengths in tokens, by the key that sets them.

    Returns:
        What to mind of the LoRA targets; None where there is nothing.

    Raises:
        ConfigError: a length beyond the model's positions, or LoRA targets that are not there or are tied weights.
    """
    refuse_too_long(seen.settings, {"training.seq_len": config.seq_len, **lengths})
    if seen.model is not None and config.method == "lora":
        return refuse_targets(seen.model, config.lora)
    return None


def counted(seen: Seen, config: TrainingConfig) -> Counts | None:
    """Parameters of a base model, after :func:`check_fit` has put LoRA's layers in; None where they cannot be told."""
    if seen.model is not None:
        return counts_of(seen.model, seen.settings)
    shape = Shape.of_config(seen.settings)
    return counts_by_sizes(shape, seen.settings, config) if shape else None


def publish_base_model(config: BaseModelConfig, store: Store, cache: Path) -> Artifact:
    """The base model as an artifact of kind ``model``, published if it is not.

    Directories and hub snapshots stay where they are; their artifact holds the files' digests, and has another id
    once a file changes. Only the weights that transformers loads are part of it. A package's GGUF file becomes a raw
    artifact, and its conversion the model.

    Raises:
        SourceError: as :func:`look_into`.
    """
    if config.source.startswith("package:"):
        return _from_package(config, store, cache)
    on_hub = hub.is_hub_id(config.source)
    directory = hub.snapshot(config) if on_hub else Path(config.source).absolute()
    _read_settings(directory)
    files = _files(directory)
    entries = [describe_in_place(str(f)) for f in files]
    identity = {
        "source": config.source if on_hub else str(directory),
        "files": {e.path.rsplit("/", 1)[-1]: e.sha256 for e in entries},
    }

    def make(place: Staging) -> Artifact:
        return place.publish(in_place=entries, facts=_facts(directory, config))

    return obtain(store, "model", NO_CODE, identity, [], make).artifact


def _look_into_directory(directory: Path, where: str) -> Seen:
    _read_settings(directory)
    files = [directory / name for name in weight_names(directory)]
    for file in files:
        refuse_pointer(file)
    seen = _look_into(directory, where, lambda: headers(files))
    if seen.model is not None and sum(file.stat().st_size for file in files) <= SCANNED_BYTES:
        refuse_not_finite(files)
    return seen


def _look_into(directory: Path, where: str, read: Callable[[], Mapping[str, Tensor] | None]) -> Seen:
    settings = _read_settings(directory)
    line = f"{where}, {_architecture(settings)}"
    if not _installed("torch", "transformers"):
        later = "its weights are compared with its class when training starts: torch and transformers are not installed here"
        return Seen(f"{line}; {later}", settings)
    model = make_model(directory)
    if (tensors := read()) is None:
        line += "; its weights are pickled: they are compared with its class once they are fetched"
    else:
        compare(model, tensors, where)
    note = check_tokenizer(directory)
    check_generation_settings(directory)
    line = f"{line}, {_size(model)}" + (f"; {note}" if note else "")
    return Seen(line, model.config.to_dict(), model)


def _look_into_package(config: BaseModelConfig, cache: Path) -> Seen:
    archive = gguf.archive_of(config, cache)
    line = f"{archive.name}, {archive.stat().st_size / 1e6:.1f} MB"
    if not _installed("torch", "transformers"):
        return Seen(line, {})
    import torch
    from transformers import AutoModelForCausalLM

    with gguf.member_of(config, cache) as file:
        settings = gguf.settings_of(file)
    with quiet(), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(settings)
    return Seen(f"{line}, {type(model).__name__}, {_size(model)}", settings.to_dict(), model)


def _size(model: Any) -> str:
    return f"{count_parameters(model) / 1e6:.1f} M parameters"


def _installed(*names: str) -> bool:
    return all(importlib.util.find_spec(name) for name in names)


def _read_settings(directory: Path) -> dict[str, Any]:
    """``config.json`` of a causal language model whose weights can be trained. Raises SourceError."""
    file = directory / "config.json"
    if directory.is_file():
        how = (
            "convert it (AutoModelForCausalLM and AutoTokenizer.from_pretrained(DIR, gguf_file=NAME), then save_pretrained), "
            "or give it in a package (package:NAME==VERSION)"
            if directory.suffix == ".gguf"
            else "give the directory that it lies in"
        )
        raise SourceError(f"base model {directory} is a file, not a Hugging Face directory. Remedy: {how}")
    if not directory.is_dir():
        raise SourceError(f"base model {directory} does not exist. Remedy: correct training.base.source")
    if (directory / ADAPTER).is_file():
        raise SourceError(
            f"{directory} holds an adapter ({ADAPTER}), which would be put on the model as it is loaded. Remedy: merge it "
            "(merge_and_unload) and give the directory that the merged model was saved to"
        )
    if not file.exists():
        raise SourceError(
            f"{directory} has no config.json, so it is no Hugging Face model. Remedy: give the directory that "
            "save_pretrained wrote"
        )
    settings = read_settings(file)
    names = (
        of_type(settings, "architectures", list, str(file), "give the list with the name of the model's class") or []
    )
    name = _architecture(settings)
    if not all(isinstance(one, str) for one in names):
        raise wrong(str(file), "architectures", names, "give the list with the name of the model's class")
    if not name.endswith(CAUSAL):
        raise SourceError(
            f"{directory} is no causal language model (architectures in config.json: {name}). "
            "Remedy: choose one whose architecture ends in ForCausalLM or LMHeadModel"
        )
    refuse_by_settings(settings, str(directory))
    return settings


def _architecture(settings: Mapping[str, Any]) -> str:
    return str((settings.get("architectures") or ["none named"])[0])


def _files(directory: Path) -> list[Path]:
    """What a loader may read: configuration, tokenizer, and the weights that transformers loads."""
    names = {f.name for f in directory.iterdir() if f.is_file()}
    small = {n for n in names if any(fnmatch.fnmatchcase(n, pattern) for pattern in hub.SMALL)}
    return [directory / n for n in sorted(small | set(weight_names(directory, names)))]


def _facts(directory: Path, config: BaseModelConfig) -> BaseModelFacts:
    """Of the manifest; the files are compared with the model's class first."""
    seen = _look_into_directory(directory, config.source)
    return BaseModelFacts(
        parameters=count_parameters(seen.model),
        architecture=_architecture(_read_settings(directory)),
        source=config.source,
    )


def _from_package(config: BaseModelConfig, store: Store, cache: Path) -> Artifact:
    origin = {"source": config.source, "sha256": config.sha256, "member": config.member}
    conversion = {"conversion": "GGUF to safetensors, float32"}
    with contextlib.ExitStack() as stack:
        member = functools.cache(lambda: stack.enter_context(gguf.member_of(config, cache)))  # unpacked where needed

        def keep(place: Staging) -> Artifact:
            put_directory(member().parent, place)
            return place.publish(facts=RawFacts(source=config.source))

        def convert(place: Staging) -> Artifact:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()), "model")
            gguf.convert(member(), directory)
            facts = _facts(directory, config)
            put_directory(directory, place)
            return place.publish(facts=facts)

        raw = obtain(store, "raw", NO_CODE, origin, [], keep).artifact
        return obtain(store, "model", CONVERSION_VERSION, conversion, [raw], convert).artifact
