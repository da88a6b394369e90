"""The input tables at each size: of made-up documents, or cut from the user's own raw files."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from comparison.config import ComparisonConfig
from comparison.data import TABLES_VERSION, generated, write_tables
from etl.config import SourceConfig
from etl.read.files import Part
from etl.read.records import records
from etl.read.source import Source, resolved
from handoff.errors import SourceError


def make_tables(config: ComparisonConfig, megabytes: float, home: Path, cache: Path) -> Path:
    """Directory of the tables of one size; written once and found again by later comparisons.

    Args:
        home: where tables are kept.
        cache: directory for downloaded packages.

    Raises:
        SourceError: the source has less text than ``megabytes``, or cannot be read.
    """
    if config.source is None:
        directory = home / f"v{TABLES_VERSION}-seed{config.seed}-{megabytes:g}mb"
        write_tables(generated(megabytes, config.seed), directory, config.seed)
        return directory
    with resolved(config.source, cache) as source:
        told = "\n".join(f"{file.name} {file.bytes}" for file in source.files) + config.source.model_dump_json()
        name = hashlib.sha256(told.encode()).hexdigest()[:12]
        directory = home / f"v{TABLES_VERSION}-{name}-seed{config.seed}-{megabytes:g}mb"
        written = write_tables(_documents(source, config.source, megabytes), directory, config.seed)
    if written["characters"] < megabytes * 1e6 * 0.9:
        there = written["characters"] / 1e6
        raise SourceError(
            f"{config.source.uri} has {there:.1f} MB of text, {megabytes:g} MB were asked for. "
            f"Remedy: lower comparison.sizes_mb to {there:.0f} or less, or leave the source out for made-up documents"
        )
    return directory


def _documents(source: Source, settings: SourceConfig, megabytes: float) -> Iterator[tuple[str, str]]:
    """Source (the file's name) and text of documents in the order of the files, until there is enough text."""
    left = megabytes * 1e6
    for number, file in enumerate(source.files):
        for record in records(Part(file, file_number=number), settings):
            if record.text:
                yield file.name, record.text
                left -= len(record.text)
            if left <= 0:
                return
