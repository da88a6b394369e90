"""The accounting of a cell finds known amounts of CPU time and memory, whoever used them, with and without a cgroup."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from comparison.measure.account import Account
from comparison.measure.cgroup import Cgroup, remove_abandoned
from comparison.measure.procfs import busy_seconds

BURN = """
import os, signal, sys, time
def burn(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until: sum(range(1000))
"""
SECONDS = 1.5  # to be burnt
WAITED = BURN + f"if not os.fork(): burn({SECONDS}); os._exit(0)\nos.wait()"
IGNORED = (
    BURN
    + f"""
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
child = os.fork()
if not child: burn({SECONDS}); os._exit(0)
while os.path.exists(f"/proc/{{child}}"): time.sleep(0.05)
"""
)
DAEMON = (
    BURN
    + f"""
reading, writing = os.pipe()
if not os.fork():
    os.setsid()
    if os.fork(): os._exit(0)
    os.close(reading)
    burn({SECONDS}); os._exit(0)  # whoever takes it in, the command itself does not
os.close(writing)
os.wait()
os.read(reading, 1)  # until the daemon ends
"""
)

both = pytest.mark.parametrize("own_cgroup", [True, False], ids=["cgroup", "proc"])


def account(script: str, own_cgroup: bool, **options: object) -> Account:
    made = Account([sys.executable, "-c", script], own_cgroup=own_cgroup, stdout=subprocess.PIPE, **options)
    if not own_cgroup:
        assert made.method == "proc"
    return made


@both
@pytest.mark.parametrize("script", [WAITED, IGNORED, DAEMON], ids=["waited for", "SIGCHLD ignored", "daemon"])
def test_a_known_number_of_cpu_seconds_is_found(script: str, own_cgroup: bool) -> None:
    start = time.monotonic()
    with account(script, own_cgroup) as cell:
        assert cell.wait(60) == 0
        end = time.monotonic()
    for found in (cell.cpu_seconds(), cell.between(start, end).cpu_seconds):
        assert SECONDS * 0.8 < found < SECONDS + 0.7  # an interval may be lost; an interpreter's start comes on top
    assert cell.between(start - 10, start).cpu_seconds < 0.1, "it is told when the time was used"


@both
def test_what_a_cell_leaves_behind_is_killed(own_cgroup: bool) -> None:
    left = "import os, time\nif os.fork(): os._exit(0)\nos.setsid()\nprint(os.getpid(), flush=True)\ntime.sleep(600)"
    with account(left, own_cgroup) as cell:
        assert cell.process.stdout is not None
        daemon = int(cell.process.stdout.readline())
        assert cell.wait(60) == 0
        assert Path(f"/proc/{daemon}").exists(), "nothing to kill"
    for _ in range(100):  # where it was handed to init, that fetches its status
        if not Path(f"/proc/{daemon}").exists():
            return
        time.sleep(0.05)
    assert Path(f"/proc/{daemon}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


@both
def test_memory_of_a_child_counts_once(own_cgroup: bool) -> None:
    grown = "import os, time\nheld = b'x' * (200 << 20)\nif not os.fork(): time.sleep(2.2); os._exit(0)\nos.wait()"
    with account(grown, own_cgroup) as cell:
        start = time.monotonic()
        assert cell.wait(60) == 0
        peak = cell.between(start, time.monotonic()).peak_bytes
    assert 200 << 20 < peak < 300 << 20, "parent and child share the pages"


@both
def test_foreign_load_is_seen_as_foreign(own_cgroup: bool) -> None:
    with account("import time; time.sleep(60)", own_cgroup) as cell:
        start = time.monotonic()
        used = os.times()
        subprocess.run([sys.executable, "-c", BURN + f"burn({SECONDS})"], check=True)
        known = os.times().children_user - used.children_user
        end = time.monotonic()
        usage = cell.between(start, end)
    assert usage.foreign_cores * (end - start) > known * 0.8
    assert usage.cpu_seconds < 0.5


@both
def test_own_load_is_not_seen_as_foreign(own_cgroup: bool) -> None:
    with account(BURN + f"burn({SECONDS})", own_cgroup) as cell:
        start, before = time.monotonic(), busy_seconds()
        assert cell.wait(60) == 0
        span, busy = time.monotonic() - start, busy_seconds() - before
        usage = cell.between(start, start + span)
    assert usage.cpu_seconds + usage.foreign_cores * span < busy + 0.6, "seconds were counted twice"


def test_a_tree_that_holds_more_than_it_may_is_ended_by_the_kernel() -> None:
    grown = "held = [b'x' * (10 << 20) for _ in range(40)]\nprint(len(held))"
    with Account([sys.executable, "-c", grown], memory_bytes=200 << 20, stdout=subprocess.PIPE) as cell:
        code = cell.wait(60)
        if not cell.limits_memory:
            pytest.skip("this machine lets us make no cgroup that limits memory")
        assert code == -9 and cell.killed == 1
    assert cell.killed == 1, "the figure stays when the group has gone"
    with Account([sys.executable, "-c", grown], memory_bytes=900 << 20, stdout=subprocess.PIPE) as cell:
        assert cell.wait(60) == 0 and cell.killed == 0


def test_load_on_other_cores_is_not_foreign() -> None:
    """Pinned cores are disturbed by what runs on them, not by what runs elsewhere."""
    here = sorted(os.sched_getaffinity(0))
    if len(here) < 2:
        pytest.skip("one core: there is no other one")
    burn = [sys.executable, "-c", BURN + f"burn({SECONDS})"]
    before = {core: busy_seconds({core}) for core in here[:2]}
    with Account(["sleep", "60"], cores={here[0]}) as cell:
        start = time.monotonic()
        subprocess.run(["taskset", "-c", str(here[0]), *burn], check=True)
        assert cell.between(start, end := time.monotonic()).foreign_cores * (end - start) > SECONDS * 0.8
    assert busy_seconds({here[0]}) - before[here[0]] > SECONDS * 0.8
    assert sum(busy_seconds({core}) for core in here) <= busy_seconds() + 1


def test_the_whole_tree_stays_on_its_cores() -> None:
    here = os.sched_getaffinity(0)
    core = min(here)
    script = "import os, subprocess; os.execlp('sh', 'sh', '-c', 'sh -c \"grep Cpus_allowed_list /proc/self/status\"')"
    with account(script, True, cores={core}) as cell:
        told, _ = cell.process.communicate(timeout=60)
    assert told.split()[-1] == str(core).encode()
    assert os.sched_getaffinity(0) == here


def test_a_time_limit_leaves_the_figures(tmp_path: Path) -> None:
    with account(BURN + "burn(60)", True) as cell, pytest.raises(subprocess.TimeoutExpired):
        cell.wait(1.0)
    assert cell.cpu_seconds() > 0.1
    assert cell.process.returncode == -9


def made_group() -> tuple[Cgroup, Path]:
    """A group and its directory."""
    group = Cgroup.made()
    if group is None:
        pytest.skip("this machine lets us make no cgroup: cells are accounted for by /proc, which other tests do")
    return group, Path(group.prefix[-1].split(" ")[0])


def test_a_group_of_its_own_leaves_nothing_behind() -> None:
    group, place = made_group()
    assert place.is_dir()
    group.close()
    assert not place.exists()


def test_a_group_that_a_killed_comparison_left_is_removed() -> None:
    _, left = made_group()
    busy, place = made_group()
    sleeper = subprocess.Popen([*busy.prefix, "sleep", "60"])
    try:
        while not busy.pids():
            time.sleep(0.01)
        remove_abandoned(left.parent)
        assert left.exists(), "a new one may be about to be used"
        remove_abandoned(left.parent, seconds=-1)
        assert not left.exists()
        assert place.exists(), "it has a process"
    finally:
        sleeper.kill()
        sleeper.wait()
        busy.close()
