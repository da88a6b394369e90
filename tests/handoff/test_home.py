"""Where Baton writes: never beside installed packages."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import handoff
from handoff.home import baton_home


def test_a_checkout_writes_to_its_own_var(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BATON_HOME", raising=False)
    assert baton_home() == Path(__file__).parents[2] / "var"


def test_baton_home_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BATON_HOME", "here")
    monkeypatch.chdir(tmp_path)
    assert baton_home() == tmp_path / "here"


def test_an_installed_copy_asks_for_baton_home(tmp_path: Path) -> None:
    """A package directory as a wheel installs it: no pyproject.toml beside it."""
    shutil.copytree(Path(handoff.__file__).parent, tmp_path / "site-packages" / "handoff")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site-packages"), "BATON_HOME": ""}
    command = [sys.executable, "-c", "from handoff.home import baton_home; print(baton_home())"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "BATON_HOME is not set" in done.stderr and "Remedy" in done.stderr
    asked = subprocess.run(command, env=environment | {"BATON_HOME": "/data/baton"}, cwd=tmp_path, capture_output=True)
    assert asked.stdout == b"/data/baton\n"
