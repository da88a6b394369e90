"""Names of jobs: one word each, the same for the same work, different for different work."""

import re
from dataclasses import replace

from airflow_ray.work import Work

WORK = Work("airflow", "spark_to_ray", "manual__2026-11-24T06:00:00+00:00", "train", -1, 0)


def test_names_are_one_readable_word() -> None:
    name = WORK.submission_id(0)
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", name)
    assert name.startswith("spark_to_ray-manual__2026-11-24T06-00-00-00-00-train-") and name.endswith("-c0-n0")
    assert len(replace(WORK, run_id="é/;$(reboot)" * 100).submission_id(10)) < 160


def test_every_difference_shows() -> None:
    others = [
        replace(WORK, namespace="b"),
        replace(WORK, dag_id="b"),
        replace(WORK, run_id="manual__2026-11-24T06:00:00-00:00"),
        replace(WORK, run_id="x" * 300),
        replace(WORK, run_id="x" * 301),
        replace(WORK, task_id="b"),
        replace(WORK, map_index=0),
        replace(WORK, map_index=1),
        replace(WORK, clear_number=1),
    ]
    names = {w.submission_id(n) for w in (WORK, *others) for n in (0, 1)}
    assert len(names) == 2 * (1 + len(others))
    assert WORK.submission_id(0) == replace(WORK).submission_id(0)
