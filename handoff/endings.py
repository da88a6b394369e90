"""Which tasks of a run ended badly: Airflow's states of the tasks beside the records that the stages left."""

from collections.abc import Mapping

from handoff.run_dir import StageRecord

UNSAID = "failed in Airflow and left no error of its own: it was marked so, ran out of time, or its worker died. Its log may say more"
REMOVED = "was removed from the DAG while the run was under way"
NOT_STARTED = "did not start, because a task before it had failed"
BY_HAND = "was skipped, and nothing in the run says why: somebody ended the run by hand"


def bad_endings(
    tasks: Mapping[str, str], records: Mapping[str, StageRecord], *, by_choice: bool = False
) -> dict[str, str]:
    """Tasks that did not do their work, each with how it ended, as a sentence's end; empty where all is well.

    A skip is well where a stage recorded its reason; what Airflow skips after it needs none. Airflow skips what waits when
    a person marks a run as failed, too, and nobody records that.

    Args:
        tasks: Airflow's state of each task, in the order of the flow.
        records: of the stages that have one, by name.
        by_choice: whether a task of the run chose what to skip: a branch, or a check that ends the run early.
    """
    found: dict[str, str] = {}
    explained = by_choice
    for task, state in tasks.items():
        record = records.get(task)
        if state == "failed":
            told = record.error if record and record.status == "failed" else None
            found[task] = f"failed: {told}" if told else UNSAID
        elif state == "removed":
            found[task] = REMOVED
        elif state == "upstream_failed":
            found[task] = NOT_STARTED
        elif state == "skipped" and not explained:
            explained = bool(record and record.status == "skipped")
            if not explained:
                found[task] = BY_HAND
                explained = True  # those after it were skipped with it
    return found
