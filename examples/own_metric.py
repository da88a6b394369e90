"""A metric of your own for the gate: ``python -m examples.own_metric RUN_DIR`` evaluates with it.

Everything else stays as in ``python -m evaluation.job RUN_DIR``. In the DAG, name this module in place of
``evaluation.job``, and let the gate ask for the metric: ``{"metric": "function:starts_alike", "against": "base"}``. It
needs a corpus of prompts with completions. Name and source of the function are part of the evaluation's id.
"""

import functools
import sys

from evaluation.job import evaluate
from handoff.job import run_stage


def starts_alike(prompt: str, completion: str, reference: str) -> float:
    """1 where the completion begins with the reference's first word, else 0.

    Args:
        prompt: what the model was given.
        completion: what it answered, at most ``evaluation.max_new_tokens`` long.
        reference: the corpus's own completion.

    Returns:
        A finite number, the higher the better. A row on which this raises is left out, and counted.
    """
    return float(completion.split()[:1] == reference.split()[:1])


FUNCTIONS = {"starts_alike": starts_alike}

if __name__ == "__main__":
    sys.exit(run_stage("evaluate", functools.partial(evaluate, functions=FUNCTIONS), sys.argv[1:]))
