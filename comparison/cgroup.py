"""A cgroup of a cell's own: the kernel itself adds up the CPU time of all processes, those that have gone included."""

import contextlib
import subprocess
import time
import uuid
from pathlib import Path

_JOIN = 'echo $$ > "$1"; shift; exec "$@"'  # the shell moves itself, then becomes the command under the same pid

GONE_SECONDS = 30.0
NAME = "baton-cell-"
ABANDONED_SECONDS = 24 * 3600.0  # no cell lasts that long: the comparison that made the group was killed


class Cgroup:
    """A cgroup of version 2, whose ``cpu.stat`` needs no controller, or one of version 1's ``cpuacct``.

    Attributes:
        interval: seconds between two samples; one takes about 0.1 ms.
        prefix: what stands before the command so that its process joins before it starts.
        root: pid of the command, once started.
    """

    interval = 0.05
    root = 0

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version2 = (path / "cpu.stat").exists() and not (path / "cpuacct.usage").exists()
        self.prefix = ["/bin/sh", "-c", _JOIN, "sh", str(path / "cgroup.procs")]

    @classmethod
    def made(cls) -> "Cgroup | None":
        """A new one below the group of this process; None where the machine does not let us."""
        for parent in _own_groups():
            remove_abandoned(parent)
            path = parent / f"{NAME}{uuid.uuid4().hex[:12]}"
            with contextlib.suppress(OSError):
                path.mkdir()
                group = cls(path)
                with contextlib.suppress(OSError, ValueError):
                    before = group.cpu_seconds()
                    joined = subprocess.run([*group.prefix, "/bin/true"], capture_output=True, check=False)
                    if not joined.stderr and group.cpu_seconds() > before:
                        return group
                path.rmdir()
        return None

    def pids(self) -> list[int]:
        """Of the processes that live."""
        return [int(pid) for pid in (self._path / "cgroup.procs").read_text().split()]

    def cpu_seconds(self) -> float:
        """Of all processes so far."""
        if self._version2:
            first = (self._path / "cpu.stat").read_text().split(maxsplit=2)  # "usage_usec 1234 …"
            return int(first[1]) / 1e6
        return int((self._path / "cpuacct.usage").read_text()) / 1e9

    def close(self) -> None:
        """Remove the group, which has no process left. The kernel keeps it a moment longer than its last process."""
        until = time.monotonic() + GONE_SECONDS
        while True:
            try:
                return self._path.rmdir()
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)


def remove_abandoned(parent: Path, seconds: float = ABANDONED_SECONDS) -> None:
    """Remove groups of cells without processes that are older than this: a comparison that is killed leaves one."""
    for left in parent.glob(f"{NAME}*"):
        with contextlib.suppress(OSError):  # it has processes, or another comparison was faster
            if time.time() - left.stat().st_mtime > seconds:
                left.rmdir()


def _own_groups() -> list[Path]:
    """Directories of this process's cgroups that count CPU time, version 2 first."""
    own = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    found: dict[bool, Path] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        root, place = before.split()[3:5]
        kind, _, options = after.split()[:3]
        names = [n for n in own if (not n if kind == "cgroup2" else "cpuacct" in n.split(","))]
        wanted = kind == "cgroup2" or (kind == "cgroup" and "cpuacct" in options.split(","))
        if wanted and names and own[names[0]].startswith(root):
            found[kind == "cgroup2"] = Path(place, own[names[0]][len(root) :].lstrip("/"))
    return [found[key] for key in sorted(found, reverse=True)]
