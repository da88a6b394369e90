"""A cgroup of a cell's own: the kernel adds up the CPU time of all its processes, and holds their memory within a limit.

The limit counts what the cell's processes hold and the page cache that they fill, of the JVM, Python workers, the object store
and daemons alike.
"""

import contextlib
import subprocess
import time
import uuid
from pathlib import Path

_JOIN = 'for group in $1; do echo $$ > "$group/cgroup.procs"; done; shift; exec "$@"'  # then becomes the command

GONE_SECONDS = 30.0
NAME = "baton-cell-"
ABANDONED_SECONDS = 24 * 3600.0  # no cell lasts that long: the comparison that made the group was killed


class Cgroup:
    """A cgroup of version 2, or the pair of version 1's ``cpuacct`` and ``memory``.

    Args:
        cpu: directory that accounts for CPU time.
        memory: directory that accounts for memory and limits it; None where this machine has no such controller for us.

    Attributes:
        interval: seconds between two samples; one takes about 0.2 ms.
        prefix: what stands before the command so that its process joins before it starts.
        root: pid of the command, once started.
        limits_memory: whether the limit is kept.
    """

    interval = 0.05
    root = 0

    def __init__(self, cpu: Path, memory: Path | None, memory_bytes: int | None = None) -> None:
        self._cpu, self._memory = cpu, memory
        self._version2 = (cpu / "cpu.stat").exists() and not (cpu / "cpuacct.usage").exists()
        groups = " ".join(str(path) for path in dict.fromkeys((cpu, memory)) if path)
        self.prefix = ["/bin/sh", "-c", _JOIN, "sh", groups]
        self.limits_memory = memory is not None and memory_bytes is not None
        if memory and memory_bytes:
            (memory / ("memory.max" if self._version2 else "memory.limit_in_bytes")).write_text(str(memory_bytes))
            if self._version2:
                with contextlib.suppress(OSError):  # no swap on this machine
                    (memory / "memory.swap.max").write_text("0")

    @classmethod
    def made(cls, memory_bytes: int | None = None) -> "Cgroup | None":
        """A new one below the groups of this process; None where the machine does not let us.

        Args:
            memory_bytes: that its processes may hold together; one that goes beyond is killed.
        """
        name = f"{NAME}{uuid.uuid4().hex[:12]}"
        for cpu, memory in _own_groups():
            made = []
            try:
                for parent in dict.fromkeys((cpu, memory)):
                    if parent:
                        remove_abandoned(parent)
                        (parent / name).mkdir()
                        made.append(parent / name)
                group = cls(cpu / name, memory / name if memory else None, memory_bytes)
                before = group.cpu_seconds()
                joined = subprocess.run([*group.prefix, "/bin/true"], capture_output=True, check=False)
                if not joined.stderr and group.cpu_seconds() > before:
                    return group
            except (OSError, ValueError):
                pass
            for path in made:
                with contextlib.suppress(OSError):
                    path.rmdir()
        return None

    def pids(self) -> list[int]:
        """Of the processes that live."""
        return [int(pid) for pid in (self._cpu / "cgroup.procs").read_text().split()]

    def cpu_seconds(self) -> float:
        """Of all processes so far."""
        if self._version2:
            first = (self._cpu / "cpu.stat").read_text().split(maxsplit=2)  # "usage_usec 1234 …"
            return int(first[1]) / 1e6
        return int((self._cpu / "cpuacct.usage").read_text()) / 1e9

    def memory_bytes(self) -> int | None:
        """That processes and shared memory hold now, without page cache of files; None without the controller."""
        if self._memory is None:
            return None
        held = dict(line.split() for line in (self._memory / "memory.stat").read_text().splitlines())
        names = ("anon", "shmem") if self._version2 else ("total_rss", "total_shmem")
        return sum(int(held.get(name, 0)) for name in names)

    def killed(self) -> int:
        """Processes that the kernel ended because the limit was reached."""
        if self._memory is None:
            return 0
        file = self._memory / ("memory.events" if self._version2 else "memory.oom_control")
        return int(dict(line.split() for line in file.read_text().splitlines()).get("oom_kill", 0))

    def close(self) -> None:
        """Remove the group, which has no process left. The kernel keeps it a moment longer than its last process."""
        until = time.monotonic() + GONE_SECONDS
        left = [path for path in dict.fromkeys((self._cpu, self._memory)) if path]
        while left:
            try:
                left[0].rmdir()
                left.pop(0)
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


def _own_groups() -> list[tuple[Path, Path | None]]:
    """Pairs of directories of this process's cgroups, for CPU time and for memory; those of version 2 first."""
    own = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    found: dict[str, Path] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        root, place = before.split()[3:5]
        kind, _, options = after.split()[:3]
        for wanted in ("", "cpuacct", "memory"):
            here = kind == "cgroup2" if not wanted else kind == "cgroup" and wanted in options.split(",")
            mine = next((group for names, group in own.items() if wanted in names.split(",")), None)
            if here and mine is not None and mine.startswith(root):
                found[wanted] = Path(place, mine[len(root) :].lstrip("/"))
    pairs: list[tuple[Path, Path | None]] = []
    if "" in found:
        has_memory = "memory" in (found[""] / "cgroup.subtree_control").read_text().split()
        if has_memory:
            pairs.append((found[""], found[""]))
    if "cpuacct" in found:
        pairs.append((found["cpuacct"], found.get("memory")))
    if "" in found:
        pairs.append((found[""], found.get("memory")))
    return pairs
