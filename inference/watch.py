"""The driver's view of the work: a progress line every few seconds, and an early end where too much goes wrong."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from handoff.errors import TooManyErrors
from handoff.job import Progress, log
from inference.config import InferenceConfig
from inference.shards import Answers
from inference.summary import Summary, most_common

CAUSES_TOLD = 3
FIRST_TOLD = 3


class Watch:
    """Is told of each shard that was written.

    Args:
        label: of the progress lines.
        config: how many errors are borne.
        rows: prompts in all.
        answers: what earlier attempts wrote is counted in.

    Raises:
        TooManyErrors: earlier attempts left more errors than are borne.
    """

    def __init__(self, label: str, config: InferenceConfig, rows: int, answers: Answers) -> None:
        self._label, self._rows, self._most = label, rows, config.most_errors(rows)
        self._errors: Counter[str] = Counter()
        self._first: list[str] = []
        self._tokens, self._begun, self._ended = 0, 0.0, 0.0
        self._progress: Progress | None = None
        with ThreadPoolExecutor(max_workers=8) as pool:
            before = [Summary.model_validate(told) for told in pool.map(answers.summary, answers.done())]
        self.done_before = sum(s.stop - s.start for s in before)
        for summary in before:
            self._count(summary)
        if before:
            log.info("%s: %s of %s rows are written already", label, f"{self.done_before:,}", f"{rows:,}")
        self._refuse()

    def __call__(self, summary: Summary) -> None:
        """Count a shard. Raises TooManyErrors."""
        if self._progress is None:
            self._begun = summary.begun
            ago = max(time.time() - summary.begun, 0.0)
            for trick, why in summary.limits.items():
                log.warning("%s: the engine's %s %s", self._label, trick, why)
            self._progress = Progress(self._label, "rows", self._rows, started_ago=ago, done_before=self.done_before)
        self._tokens += summary.tokens
        self._ended = max(self._ended, summary.ended)
        rate = self._tokens / max(self._ended - self._begun, 1e-9)  # of this attempt, as inference.summary.throughput
        self._count(summary)
        self._progress.add(summary.stop - summary.start, f"{rate:,.1f} tokens/s")
        self._refuse()

    def _count(self, summary: Summary) -> None:
        self._errors.update(summary.errors)
        if summary.first_error and len(self._first) < FIRST_TOLD:
            self._first.append(summary.first_error)

    def _refuse(self) -> None:
        errors = sum(self._errors.values())
        if self._most is None or errors <= self._most:
            return
        causes = "; ".join(f"{n:,} x {name}" for name, n in list(most_common(self._errors).items())[:CAUSES_TOLD])
        raise TooManyErrors(
            f"{self._label}: {errors:,} of {self._rows:,} prompts have an error so far, and inference.max_errored_rows "
            f"bears {self._most:,}: {causes}. First: {'; '.join(self._first)}. "
            "Remedy: correct the prompts or the settings, or raise it"
        )


def forget_failed(answers: Answers) -> None:
    """Remove the shards with rows on which the model failed: after an early end, the next attempt tries them again."""
    for shard in answers.done():
        if answers.summary(shard)["failed"]:
            answers.forget(shard)
