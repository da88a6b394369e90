"""The local directory of a model artifact's files, as weight loaders read local files only."""

import os
import shutil
import uuid
from typing import Any

from handoff.artifact import Artifact
from handoff.errors import ArtifactError
from handoff.home import baton_home
from handoff.model_json import parse_settings
from handoff.store import Store, resolve

COPY_BUFFER_BYTES = 8 << 20


def model_directory(artifact: Artifact) -> str:
    """Absolute path of the Hugging Face directory of a model artifact, on the machine that calls this.

    Files on a local disk are used where they are, the artifact's own or those it uses in place. Files in a
    remote store are downloaded once into ``BATON_HOME/cache``. Processes that race all download; one copy stays.

    Raises:
        ArtifactError: the artifact is not a model, its remote files have no common directory, or a download is
            damaged.
    """
    if artifact.manifest.kind != "model":
        raise ArtifactError(artifact.id, ["this is not a model"], "give the id of a model artifact")
    if artifact.manifest.data and artifact.store.is_local:
        return artifact.data
    paths = artifact.files()
    remote = any("://" in path for path in paths)
    root = artifact.data if artifact.manifest.data else _common_directory(artifact, paths)
    return _download(artifact, root, paths) if remote else root


def settings_of(model: Artifact) -> dict[str, Any]:
    """``config.json`` of a model artifact, wherever its files lie; empty where it has none."""
    for entry in model.manifest.files:
        if entry.path.rsplit("/", 1)[-1] == "config.json":
            return parse_settings(model.store.read(model.path_of(entry)), model.path_of(entry))
    return {}


def _common_directory(artifact: Artifact, paths: list[str]) -> str:
    schemes = {scheme for path in paths for scheme, mark, _ in [path.partition("://")] if mark}
    if not schemes:
        return os.path.commonpath([os.path.dirname(p) for p in paths])
    parents = [path.partition("://")[2].rsplit("/", 1)[0] for path in paths]
    common = os.path.commonpath(parents) if len(schemes) == 1 else ""
    if not common:
        raise ArtifactError(artifact.id, ["its files have no common directory"], "keep a model in one directory")
    return f"{schemes.pop()}://{common}"


def _download(artifact: Artifact, root: str, paths: list[str]) -> str:
    target = str(baton_home() / "cache" / f"{artifact.id}-{artifact.manifest.digest[:12]}")
    if os.path.isdir(target):
        return target
    aside = f"{target}.{uuid.uuid4().hex[:8]}"
    try:
        for path in paths:
            filesystem, full = resolve(path)
            local = os.path.join(aside, path[len(root) + 1 :])
            os.makedirs(os.path.dirname(local), exist_ok=True)
            with filesystem.open_input_stream(full, compression=None) as source, open(local, "wb") as copy:
                shutil.copyfileobj(source, copy, COPY_BUFFER_BYTES)
        _check_digests(artifact, aside, root, paths)
        try:
            os.rename(aside, target)
        except OSError:
            if not os.path.isdir(target):  # else another process was first, and its copy is the same
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def _check_digests(artifact: Artifact, directory: str, root: str, paths: list[str]) -> None:
    whole = Store(directory)
    problems = [
        f"file {entry.path} arrived with another SHA-256 than the manifest's"
        for entry, path in zip(artifact.manifest.files, paths, strict=True)
        if whole.sha256(path[len(root) + 1 :]) != entry.sha256
    ]
    if problems:
        raise ArtifactError(artifact.directory, problems, "check the store, and rerun")
