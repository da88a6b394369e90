"""What of a job's log is shown."""

import logging
from typing import Any

from airflow_ray.follow import Follower


def test_the_state_that_a_dying_raylet_dumps_is_left_out_and_everything_else_is_there() -> None:
    shown: list[str] = []
    nobody: Any = None
    follower = Follower(nobody, "job-1", emit=shown.append, log=logging.getLogger("test"))
    text = "step 1\n[2026-11-26 10:00:00,1 I 7 7] (raylet) node_manager.cc:1: [state-dump] NodeManager:\n[state-dump] x\nstep 2\n"
    follower._take(text)
    assert shown == ["step 1", "step 2"] == list(follower.tail)
    assert follower.position == len(text), "the next attempt goes on after all that was read"
