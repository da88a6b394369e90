"""Named places where a test can kill the process, to prove that nothing half-finished becomes visible."""

import os
import signal

ENVIRONMENT_VARIABLE = "BATON_CRASH_AT"


def crash_point(name: str) -> None:
    """Kill this process with SIGKILL if ``BATON_CRASH_AT`` names this point; do nothing otherwise."""
    if os.environ.get(ENVIRONMENT_VARIABLE) == name:
        os.kill(os.getpid(), signal.SIGKILL)
