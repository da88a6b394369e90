"""The accounting of one cell: CPU time and memory of a whole tree of processes, and what others used meanwhile."""

import bisect
import contextlib
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from comparison.measure.cgroup import Cgroup
from comparison.measure.procfs import MARK, Tree, busy_seconds, proportional_bytes
from handoff.errors import InfrastructureError

MEMORY_SECONDS = 1.0  # four samples a second cost 14 % of a core
KILL_SECONDS = 30.0


@dataclass(frozen=True)
class Usage:
    """What a cell used over a span.

    Attributes:
        cpu_seconds: of all its processes, also of those that have gone.
        peak_bytes: largest memory that they held together, shared memory once, page cache not: sampled twenty times a second
            by the cgroup, else once a second as proportional set sizes; 0 where nothing lived.
        foreign_cores: mean cores of those it is pinned to that all other processes used, stolen time included; not the process
            that measures.
    """

    cpu_seconds: float
    peak_bytes: int
    foreign_cores: float


class Account:
    """Starts a command and accounts for all its descendants: those that were never waited for, and daemons, too.

    A thread takes the figures with time stamps of :func:`time.monotonic`, which is one clock for all processes of a
    machine. So a cell may tell the stamps of its phases afterwards. Leaving the context kills what is left.

    Args:
        command: program and arguments.
        cores: that the tree is pinned to; None for all. What others use is counted on these cores.
        memory_bytes: that the whole tree may hold; kept by the kernel where the machine lets us make a cgroup.
        own_cgroup: whether to try for a cgroup of its own; ``/proc`` otherwise, without a limit of memory.
        popen: further arguments of :class:`subprocess.Popen`.

    Attributes:
        process: of the command. Fetch its exit code with :meth:`wait`, which takes the last figures first.
        method: ``cgroup`` or ``proc``.
        load: the machine's load average over one minute, before the start.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cores: set[int] | None = None,
        memory_bytes: int | None = None,
        own_cgroup: bool = True,
        **popen: Any,
    ) -> None:
        mark = uuid.uuid4().hex
        environment: Mapping[str, str] = popen.pop("env", None) or os.environ
        self.load = os.getloadavg()[0]
        self._cores = cores
        self._members: Cgroup | Tree = (Cgroup.made(memory_bytes) if own_cgroup else None) or Tree(mark)
        self.method = "cgroup" if isinstance(self._members, Cgroup) else "proc"
        self._lock = threading.RLock()
        self._stop, self._closed, self._killed = threading.Event(), False, 0
        self._times: list[float] = []
        self._figures: list[tuple[float, float]] = []  # CPU-seconds of the cell, and of all others
        self._memory: list[tuple[float, int]] = []
        self._sample()
        before = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, cores or before)  # of this thread; the child inherits it
            whole = [*self._members.prefix, *command]
            self.process = subprocess.Popen(whole, env={**environment, MARK: mark}, **popen)
        except BaseException:
            self._members.close()
            raise
        finally:
            os.sched_setaffinity(0, before)
        self._members.root = self.process.pid
        self._thread = threading.Thread(target=self._watch, name="account", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Account":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cpu_seconds(self) -> float:
        """Of the whole tree so far."""
        self._sample()
        return self._figures[-1][0]

    def between(self, start: float, end: float) -> Usage:
        """What was used from one time stamp to another; interpolated between samples."""
        if not self._times or end > self._times[-1]:
            self._sample()
        with self._lock:
            (cpu0, others0), (cpu1, others1) = (
                [float(np.interp(at, self._times, [f[n] for f in self._figures])) for n in (0, 1)]
                for at in (start, end)
            )
            stamps = [at for at, _ in self._memory]
            first, last = bisect.bisect_left(stamps, start), bisect.bisect_right(stamps, end)
            if first == last:  # a span of less than a second: the sample after it, else the one before
                first, last = (first, last + 1) if last < len(stamps) else (max(first - 1, 0), last)
            peak = max((held for _, held in self._memory[first:last]), default=0)
        return Usage(max(cpu1 - cpu0, 0.0), peak, max(others1 - others0, 0.0) / max(end - start, 1e-9))

    def wait(self, timeout: float | None = None) -> int:
        """The exit code of the command. Raises subprocess.TimeoutExpired, and leaves it running."""
        until = time.monotonic() + timeout if timeout is not None else float("inf")
        while self.process.returncode is None:
            if os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                self._sample()  # before its own time goes with it
                self.process.wait()
            elif time.monotonic() > until:
                raise subprocess.TimeoutExpired(self.process.args, timeout or 0.0)
            else:
                time.sleep(0.02)
        return self.process.returncode

    def close(self) -> None:
        """Kill every process of the tree that still lives. The figures stay.

        Raises:
            InfrastructureError: one does not go.
        """
        if self._stop.is_set():
            return
        self._stop.set()
        self._thread.join()
        until = time.monotonic() + KILL_SECONDS
        while pids := self._members.pids():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > until:
                raise InfrastructureError(f"processes {pids} of a measured cell survive SIGKILL")
            time.sleep(0.01)
        self.wait()
        self._sample()
        self._killed = self._members.killed() if isinstance(self._members, Cgroup) else 0
        self._members.close()
        self._closed = True

    @property
    def killed(self) -> int:
        """Processes that the kernel ended because they held more memory than they may."""
        if not self._closed and isinstance(self._members, Cgroup):
            return self._members.killed()
        return self._killed

    @property
    def limits_memory(self) -> bool:
        """Whether the kernel holds the tree within its memory."""
        return isinstance(self._members, Cgroup) and self._members.limits_memory

    def _watch(self) -> None:
        due = 0.0
        while not self._stop.wait(self._members.interval):
            self._sample()
            if isinstance(self._members, Cgroup) and (held := self._members.memory_bytes()) is not None:
                self._memory.append((time.monotonic(), held))
            elif time.monotonic() >= due:
                due = time.monotonic() + MEMORY_SECONDS
                with self._lock:
                    pids = self._members.pids()
                self._memory.append((time.monotonic(), sum(map(proportional_bytes, pids))))

    def _sample(self) -> None:
        with self._lock:
            if self._closed:
                return
            cpu, busy, own = self._members.cpu_seconds(), busy_seconds(self._cores), time.process_time()
            self._figures.append((cpu, busy - cpu - own))
            self._times.append(time.monotonic())
