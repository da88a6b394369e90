"""How a job ended: the result that it wrote, a line ``RAY_JOB_RESULT`` and a small JSON in its log; or why it failed."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.job_submission import JobDetails

RESULT_MARK = "RAY_JOB_RESULT "
RESULT_BYTES = 48 << 10  # what Airflow's database takes of an XCom without complaint
TAIL_LINES = 15  # of the log, in the message of a failure
END_BYTES = 256 << 10  # of the log, in which the result is looked for


def result(job: str, log_end: str) -> Any:
    """The value of the last result line.

    Args:
        job: its name, for messages.
        log_end: the last END_BYTES of its log, or all of it.

    Raises:
        ValueError: no such line, no JSON in it, or more than RESULT_BYTES.
    """
    for line in reversed(log_end.splitlines()):
        _, mark, text = line.partition(RESULT_MARK)
        if not mark:
            continue
        if len(text.encode()) > RESULT_BYTES:
            raise ValueError(
                f"the result of Ray job {job} has {len(text.encode())} bytes, at most {RESULT_BYTES} go into an XCom. "
                "Remedy: write the data to storage, and print its address"
            )
        try:
            return json.loads(text)
        except ValueError as error:
            raise ValueError(
                f"the result of Ray job {job} is no JSON ({error}). Remedy: print {RESULT_MARK!r} and json.dumps(…) in one line"
            ) from error
    raise ValueError(
        f"Ray job {job} has succeeded and its log's end holds no result. Remedy: let it print one line with {RESULT_MARK!r} "
        f"and json.dumps(…), among the last {END_BYTES >> 10} KiB of its log"
    )


def failure(job: str, details: "JobDetails", lines: Sequence[str]) -> str:
    """Why a job did not succeed: its ERROR lines, else its last ones.

    Args:
        job: its name.
        details: of a job that has failed or was stopped.
        lines: of its log; the last TAIL_LINES count.
    """
    if details.status == "STOPPED":
        return f"Ray job {job} was stopped"
    tail = lines[-TAIL_LINES:]
    errors = [line for line in tail if line.startswith("ERROR")]
    text = "\n".join(errors or tail) or str(details.message)
    return f"Ray job {job} failed (exit code {details.driver_exit_code}):\n{text}"
