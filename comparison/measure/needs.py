"""What a comparison needs on its machine, looked at before anything is written: the engines, and room on the disk."""

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from comparison.config import RAY_STORE, ComparisonConfig
from comparison.form import Engine
from handoff.errors import ConfigError

PACKAGES: dict[Engine, tuple[str, ...]] = {
    "spark": ("pyspark", "torch", "transformers"),
    "ray": ("ray", "polars", "torch", "transformers"),  # Ray Data's join needs polars
    "polars": ("polars",),
    "relay": ("pyspark", "ray", "torch", "transformers"),
    "python": ("torch", "transformers"),
}

RAY_THRESHOLD = "RAY_local_fs_capacity_threshold"  # Ray's own setting: the share of a disk that counts as full
RAY_FULL = 0.95


def require_engines(engines: Sequence[Engine]) -> str:
    """See that each engine's packages are installed here.

    Raises:
        ConfigError: naming each package that is missing.
    """
    missing = [
        f"{engine} needs {package}"
        for engine in engines
        for package in PACKAGES[engine]
        if importlib.util.find_spec(package) is None
    ]
    if missing:
        raise ConfigError(
            f"{', '.join(missing)}: not installed here. Remedy: install Baton with the extras spark and ray where the "
            "comparison runs, or leave the engine out (comparison.engines)"
        )
    return f"engines: {', '.join(engines)}"


def require_disk(config: ComparisonConfig, home: Path) -> str:
    """See that the largest size fits on the disk. Raises ConfigError."""
    home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(home).free
    if config.disk_bytes > free:
        raise ConfigError(
            f"{max(config.sizes_mb):g} MB of text need about {config.disk_bytes / 1e9:.1f} GB of disk in {home}, "
            f"{free / 1e9:.1f} GB are free. Remedy: lower comparison.sizes_mb, or set BATON_HOME to a larger disk"
        )
    if {"ray", "relay"} & set(config.engines):
        _require_spilling(config, Path(tempfile.gettempdir()))
    return f"{config.disk_bytes / 1e9:.1f} GB of disk needed, {free / 1e9:.1f} GB free"


def _require_spilling(config: ComparisonConfig, place: Path) -> None:
    """See that Ray can spill: it stops at a share of the whole disk, however much that leaves."""
    spilled = 2 * max(config.sizes_mb) * 1e6  # what a shuffle reads, and what it makes of it
    share = float(os.environ.get(RAY_THRESHOLD, RAY_FULL))
    disk = shutil.disk_usage(place)
    left = max(0.0, disk.free - (1 - share) * disk.total)
    if spilled > config.memory_gib * 2**30 * RAY_STORE and spilled > left:
        raise ConfigError(
            f"Ray puts {left / 1e9:.1f} GB at most on the disk of {place}, as it takes it for full at {share:.0%}; "
            f"{max(config.sizes_mb):g} MB of text need {spilled / 1e9:.1f} GB. Remedy: free space, raise {RAY_THRESHOLD}, "
            "or lower comparison.sizes_mb"
        )
