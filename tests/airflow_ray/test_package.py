"""What is sent to a cluster: tracked files, whole, and not too many."""

import subprocess
import zipfile
from pathlib import Path

import pytest

from airflow_ray.package import pack_tracked_files


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True, capture_output=True)

    git("init", "-q")
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "job.py").write_text("print('job')\n")
    (tmp_path / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "gone.py").write_text("")
    git("add", ".")
    (tmp_path / "gone.py").unlink()
    (tmp_path / "secret.env").write_text("PASSWORD=x")
    return tmp_path


def test_tracked_files_and_nothing_else(tree: Path) -> None:
    archive = pack_tracked_files(str(tree))
    with zipfile.ZipFile(archive) as found:
        assert found.namelist() == ["pkg/job.py", "run.sh"]
        assert found.read("pkg/job.py") == b"print('job')\n"
        assert found.getinfo("run.sh").external_attr >> 16 & 0o111
    archive.unlink()


def test_equal_files_give_an_equal_archive(tree: Path) -> None:
    first, second = pack_tracked_files(str(tree)), pack_tracked_files(str(tree))
    assert first != second and first.read_bytes() == second.read_bytes()
    first.unlink(), second.unlink()


def test_too_much_is_refused_and_the_largest_named(tree: Path) -> None:
    with pytest.raises(ValueError, match=r"at most 0\.0 MB go to a cluster; largest: pkg/job\.py.*Remedy"):
        pack_tracked_files(str(tree), limit_bytes=20)


def test_a_directory_without_git_or_without_tracked_files_is_refused(
    tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.raises(ValueError, match=r"not a git repository.*Remedy"):
        pack_tracked_files(str(tmp_path_factory.mktemp("plain")))
    (tree / "empty").mkdir()
    with pytest.raises(ValueError, match="git tracks no file there"):
        pack_tracked_files(str(tree / "empty"))
