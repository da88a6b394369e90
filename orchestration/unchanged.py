"""Whether a run would only repeat the last promoted result: compared by configuration, inputs and code."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from etl.config import SourceConfig
from etl.read.source import resolved
from handoff.manifest import canonical, current_producer
from handoff.packages import cache_dir
from handoff.run_dir import RunDir
from handoff.store import resolve
from orchestration.run_config import RunConfig


def stamp_of(config: RunConfig) -> str:
    """16 hex digits of everything that determines a run's outcome and can be read within seconds.

    Files count by name, size and modification time: reading terabytes to find that nothing changed is what this is to
    avoid. A stamp that differs costs a run that finds its artifacts published; it cannot publish anything twice.

    Raises:
        SourceError: as :func:`etl.read.source.resolved`.
    """
    evaluations = config.corpus.decontamination.sources
    seen = [_files([f.uri for f in _raw(source)]) for source in (*config.corpus.sources, *evaluations)]
    for place in (config.training.base.source, config.inference.prompts):
        if place and Path(place).is_dir():
            seen.append(_files(sorted(str(f) for f in Path(place).rglob("*") if f.is_file())))
        elif place and ("://" in place or Path(place).is_file()):
            seen.append(_files([place]))
    identity = {"config": config.model_dump(mode="json"), "files": seen, "code": current_producer().commit}
    return hashlib.sha256(canonical(identity).encode()).hexdigest()[:16]


def unchanged_since(promoted: Iterable[Mapping[str, Any]], config: RunConfig) -> str | None:
    """Why there is nothing to do, or None.

    Args:
        promoted: extras of the promoted model's events, newest first.
        config: this run's configuration.

    Returns:
        The reason, if the newest promotion of this registered model has the same stamp and its run got to its end.

    Raises:
        SourceError: as :func:`stamp_of`.
    """
    name = config.promotion.model_name
    last = next((event for event in promoted if event.get("model") == name), None)
    if last is None or last.get("stamp") != stamp_of(config):
        return None
    run = RunDir(str(last["run_dir"]))
    predicted = run.record("predict")
    if predicted is None or predicted.status != "success":
        return None
    return (
        f"raw data, configuration and code are those of {name} version {last['version']}, promoted by run {run.name}: "
        "nothing to do. A run that a person triggers always goes through"
    )


def _raw(source: SourceConfig) -> Iterable[Any]:
    """A source's files that may change in place; a package's members are pinned by its sha256."""
    if source.uri.startswith("package:"):
        return []
    with resolved(source, cache_dir()) as found:
        return found.files


def _files(uris: list[str]) -> list[tuple[str, int | None, int | None]]:
    """Name, size and time of modification in nanoseconds of files on one filesystem."""
    if not uris:
        return []
    filesystem = resolve(uris[0])[0]
    infos = filesystem.get_file_info([resolve(uri)[1] for uri in uris])
    return [(info.path, info.size, info.mtime_ns) for info in infos]
