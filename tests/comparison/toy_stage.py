"""A stage in place of ``clean`` whose forms need no engine and go wrong in every way; in the measured processes too."""

import os
import signal
import time
from pathlib import Path

import pyarrow.parquet as pq

from comparison.form import Form, Stage, Work


def _copy(work: Work, drop: int = 0) -> None:
    table = pq.read_table(work.documents)
    work.output.mkdir()
    pq.write_table(table.slice(drop), work.output / "part.parquet")


def good(work: Work) -> dict[str, float]:
    _copy(work)
    return {"seen": 1.0}


def wrong(work: Work) -> None:
    _copy(work, drop=1)


def hanging(work: Work) -> None:
    if not (mark := Path(os.environ["TOY_MARKS"]) / "hung").exists():
        mark.touch()
    time.sleep(3600)


def killed(work: Work) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def raising(work: Work) -> None:
    raise ValueError("no such column")


STAGE = Stage(
    "clean",
    "A toy",
    "What becomes of forms that go wrong?",
    (
        Form("python", "good", good, tunable=False),
        Form("polars", "good", good, tunable=False),
        Form("python", "wrong", wrong, tunable=False),
        Form("python", "hanging", hanging, tunable=False),
        Form("python", "killed", killed, tunable=False),
        Form("python", "raising", raising, tunable=False),
    ),
)
