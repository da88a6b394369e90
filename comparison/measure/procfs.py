"""What ``/proc`` tells: the processes of a tree and their CPU time, their memory, and the time of the whole machine."""

import contextlib
import ctypes
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
MARK = "BATON_CELL"  # in the environment of every process of a cell
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


@dataclass(frozen=True)
class _Stat:
    start: int
    parent: int
    zombie: bool
    own: float  # CPU-seconds of the process
    waited: float  # of its children that it waited for, and theirs


class Tree:
    """Descendants of this process that bear a mark, followed through ``/proc``.

    This process becomes a subreaper, so that daemons are handed to it and stay in sight. The kernel adds the time of a
    child to its parent's only if the parent waits for it; one that ignores SIGCHLD does not. So a process counts with
    its own time and the larger of two figures: what the kernel handed up, and what was last seen of children now gone.
    What such a child used since the last sample is lost.

    Attributes: those of :class:`comparison.measure.cgroup.Cgroup`; one sample takes some milliseconds.
    """

    interval = 0.2
    root = 0

    def __init__(self, mark: str) -> None:
        self.prefix: list[str] = []
        self._mark = f"{MARK}={mark}".encode()
        self._seen: dict[int, _Stat] = {}
        self._gone: dict[int, float] = {}  # by the process that they were children of
        self._us = os.getpid()
        _subreaper(True)

    def pids(self) -> list[int]:
        """Of the processes that live."""
        self.cpu_seconds()
        return [pid for pid, stat in self._seen.items() if not stat.zombie]

    def cpu_seconds(self) -> float:
        """Of all processes so far. Fetches the exit status of daemons that have ended."""
        everything = {int(name): stat for name in os.listdir("/proc") if name.isdigit() and (stat := _stat(name))}
        now = {pid: stat for pid, stat in everything.items() if self._belongs(pid, stat)}
        more = now
        while more := {p: s for p, s in everything.items() if p not in now and s.parent in more}:
            now |= more
        left = {pid: stat for pid, stat in self._seen.items() if pid not in now or now[pid].start != stat.start}
        for pid, stat in left.items():
            parent = stat.parent
            while parent in left:
                parent = left[parent].parent
            self._gone[parent] = self._gone.get(parent, 0.0) + self._counted(pid, stat)
        for pid in left:
            self._gone.pop(pid, None)
        self._seen = now
        for pid, stat in now.items():
            if stat.zombie and stat.parent == self._us and pid != self.root:
                os.waitpid(pid, os.WNOHANG)
        return self._gone.get(self._us, 0.0) + sum(self._counted(pid, stat) for pid, stat in now.items())

    def close(self) -> None:
        """No longer take in daemons. No process of the tree lives any more."""
        self.cpu_seconds()  # fetches those that were killed last
        _subreaper(False)

    def _counted(self, pid: int, stat: _Stat) -> float:
        return stat.own + max(stat.waited, self._gone.get(pid, 0.0))

    def _belongs(self, pid: int, stat: _Stat) -> bool:
        if pid in self._seen:
            return self._seen[pid].start == stat.start
        if stat.parent != self._us:
            return False
        with contextlib.suppress(OSError):
            return self._mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return False


def _stat(pid: str) -> _Stat | None:
    """Of ``/proc/<pid>/stat`` (proc(5)); None where the process has gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    user, system, waited_user, waited_system = map(int, fields[11:15])
    return _Stat(
        start=int(fields[19]),
        parent=int(fields[1]),
        zombie=fields[0] in "ZX",
        own=(user + system) / TICK,
        waited=(waited_user + waited_system) / TICK,
    )


def _subreaper(on: bool) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def busy_seconds(cores: Collection[int] | None = None) -> float:
    """CPU-seconds of these cores (all, unless given) that were not idle, since boot; stolen ones included (proc(5))."""
    names = {"cpu"} if cores is None else {f"cpu{core}" for core in cores}
    total = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name in names:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, ticks[:8])
            total += user + nice + system + irq + softirq + steal
    return total / TICK


def proportional_bytes(pid: int) -> int:
    """Proportional set size of a process; its resident set where that may not be read; 0 where it has gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    return 0
