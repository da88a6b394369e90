"""The raw artifact: which bytes went in. Its id follows from names and contents, not from where the files are."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from etl.config import SourceConfig
from etl.read.check import check_files
from etl.read.files import SourceFile
from etl.read.source import Source, resolved
from handoff.artifact import Artifact
from handoff.errors import ArtifactError
from handoff.job import log
from handoff.publish import NO_CODE, Staging, describe_in_place, find, obtain
from handoff.store import Store


def publish_sources(store: Store, wanted: Sequence[SourceConfig], cache: Path) -> list[tuple[Artifact, Source]]:
    """Find and check the files of several sources, and publish each source as a raw artifact.

    Args:
        cache: directory of downloaded packages.

    Returns:
        Per source the artifact, and the source as an engine can read it from now on.

    Raises:
        SourceError: as :func:`etl.read.source.resolved` and :func:`etl.read.check.check_files`.
    """
    published = []
    for settings in wanted:
        with resolved(settings, cache) as source:
            size = source.total_bytes / 1e6
            log.info("source: %s: %d files (.%s), %.1f MB", settings.uri, len(source.files), source.format, size)
            check_files(source)
            raw, readable = publish_raw(store, source)
        log.info("  raw input: %s", raw.directory)
        published.append((raw, readable))
    return published


def publish_raw(store: Store, source: Source) -> tuple[Artifact, Source]:
    """Publish the source's files as a raw artifact, or return the one that was published before.

    A package's members are copied into the artifact; other files stay where they are and are listed with their digests.

    Returns:
        The artifact, and the source as an engine can read it from now on.
    """
    with ThreadPoolExecutor(max_workers=8) as pool:
        entries = list(pool.map(lambda f: describe_in_place(f.uri), source.files))
    listed = [
        {"name": f.name, "bytes": e.bytes, "sha256": e.sha256} for f, e in zip(source.files, entries, strict=True)
    ]
    config: dict[str, Any] = {"files": listed}
    try:
        find(store, "raw", config, [])
    except ArtifactError:
        if not source.in_place:
            raise
        # The same files were elsewhere and are gone from there. Earlier artifacts keep their parent; new ones get a
        # parent that says where the files are now.
        config["root"] = source.root
        log.info("  the same files lay elsewhere before: published anew")

    def make(place: Staging) -> Artifact:
        if source.in_place:
            return place.publish(in_place=entries)
        for file in source.files:
            store.write(f"{place.path}/{file.name}", Path(file.uri).read_bytes())
        return place.publish()

    raw, _ = obtain(store, "raw", NO_CODE, config, [], make)
    if source.in_place:
        return raw, source
    files = tuple(SourceFile(f"{raw.data}/{f.name}", f.name, f.bytes) for f in source.files)
    return raw, replace(source, root=raw.data, files=files)
