"""``python -m tests.training.slow_job RUN_DIR SECONDS``: the train stage, with so much more time for each micro-batch.

It looks for room for more workers every ten seconds.
"""

import sys
import time
from typing import Any

from handoff.job import run_stage
from handoff.run_dir import RunDir, StageRecord
from training import fit
from training.job import train
from training.recipe import Recipe, next_token_loss

SECONDS = float(sys.argv[2]) if __name__ == "__main__" else 0.0


def slow_loss(model: Any, batch: Any) -> Any:
    time.sleep(SECONDS)
    return next_token_loss(model, batch)


def slow_train(run: RunDir, record: StageRecord) -> None:
    train(run, record, Recipe(slow_loss))


if __name__ == "__main__":
    fit.RESIZE_SECONDS = 10.0
    sys.exit(run_stage("train", slow_train, sys.argv[1:2]))
