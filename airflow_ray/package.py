"""The code that a job gets: the tracked files of a git working tree, no untracked files."""

import subprocess
import tempfile
import zipfile
from pathlib import Path

LIMIT_BYTES = 100 << 20  # Ray keeps packages in the memory of its head
LARGEST_SHOWN = 3
EPOCH = (1980, 1, 1, 0, 0, 0)


def pack_tracked_files(directory: str, limit_bytes: int = LIMIT_BYTES) -> Path:
    """Zip what git tracks below a directory, as it lies there. Equal files give an equal archive, sent once.

    Args:
        directory: in a git working tree.
        limit_bytes: of all files together.

    Returns:
        Path of a fresh temporary ``.zip``; the caller removes it.

    Raises:
        ValueError: no git working tree, nothing tracked, or too large.
    """
    root = Path(directory)
    found = subprocess.run(["git", "-C", directory, "ls-files", "-z"], capture_output=True, check=False)
    if found.returncode:
        reason = found.stderr.decode(errors="replace").strip() or "git failed"
        raise ValueError(f"working_dir {directory}: {reason}. Remedy: name a git working tree on this machine")
    # A tracked file may be deleted but not committed; a submodule is a directory.
    files = sorted(root / name for name in found.stdout.decode().split("\0") if name and (root / name).is_file())
    if not files:
        raise ValueError(f"working_dir {directory}: git tracks no file there. Remedy: `git add` what the job needs")
    sizes = {file: file.stat().st_size for file in files}
    if (total := sum(sizes.values())) > limit_bytes:
        largest = sorted(files, key=lambda f: -sizes[f])[:LARGEST_SHOWN]
        shown = ", ".join(f"{f.relative_to(root)} ({sizes[f] / 1e6:.1f} MB)" for f in largest)
        raise ValueError(
            f"working_dir {directory}: {total / 1e6:.1f} MB tracked, at most {limit_bytes / 1e6:.1f} MB go to a cluster; "
            f"largest: {shown}. Remedy: keep data out of git, or put the code into the cluster's image"
        )
    with tempfile.NamedTemporaryFile(suffix=".zip", prefix="ray-code-", delete=False) as target:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                entry = zipfile.ZipInfo(str(file.relative_to(root)), EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = (file.stat().st_mode & 0o777) << 16
                archive.writestr(entry, file.read_bytes())
        return Path(target.name)
