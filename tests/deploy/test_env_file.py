"""The secrets of a cluster: made once, for their owner alone, and kept."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import env_file
from deploy.engine import FILE, PROJECT
from orchestration.services import SHARED, settings_of


def test_secrets_are_private_and_stay(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    first = env_file.ensure(path, "volume")
    assert path.stat().st_mode & 0o777 == 0o600
    assert env_file.ensure(path) == first == env_file.read(path)
    other = env_file.ensure(tmp_path / "other")
    assert not {first[name] for name in env_file.SECRETS} & {other[name] for name in env_file.SECRETS}
    assert all(len(first[name]) >= 16 for name in env_file.SECRETS)


def test_a_file_that_others_could_read_is_closed(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("RAY_TOKEN=mine\nUI_PORT=8090\n")
    path.chmod(0o644)
    made = env_file.ensure(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert made["RAY_TOKEN"] == "mine" and made["UI_PORT"] == "8090" and made["FERNET_KEY"]


def test_another_storage_keeps_the_secrets(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    first = env_file.ensure(path)
    assert first["BATON_STORAGE"].startswith("s3://") and first["COMPOSE_PROFILES"] == "s3"
    second = env_file.ensure(path, "volume")
    assert second["BATON_STORAGE"] == "/data/artifacts" and second["COMPOSE_PROFILES"] == ""
    assert all(second[name] == first[name] for name in env_file.SECRETS)
    with pytest.raises(ValueError, match="STORAGE=tape"):
        env_file.ensure(path, "tape")


def test_it_names_everything_that_compose_asks_for(tmp_path: Path) -> None:
    asked = set(re.findall(r"\$\{([A-Z0-9_]+):\?", FILE.read_text()))
    assert len(asked) > 8 and asked <= env_file.ensure(tmp_path / ".env").keys()


def test_git_and_the_images_leave_it_out() -> None:
    assert ".env" in (PROJECT / ".gitignore").read_text().split()
    assert ".env" in (PROJECT / ".dockerignore").read_text().split()


def test_settings_that_both_share_hold_no_secret_and_no_place() -> None:
    shared = settings_of(SHARED)
    assert shared["RAY_AUTH_MODE"] == "token"
    assert not [name for name in shared if any(word in name for word in ("SECRET", "PASSWORD", "KEY", "URL"))]


def test_without_a_container_engine_the_test_says_so(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "deploy.cluster", "test"], cwd=PROJECT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stderr.startswith("SKIPPED: no container engine answers (failed: docker info")
