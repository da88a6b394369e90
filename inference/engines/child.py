"""An engine in processes of its own: another interpreter's, or several that share a model."""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import wait
from typing import Any

from engines.alone import Limits
from inference.engines.base import Answer

ERROR_CHARACTERS = 2000  # of a process' last words, for the message of its end
ENDING_SECONDS = 10


class ChildEngine:
    """Sends every request to all processes of a group, a line of JSON each, and takes the first one's answer.

    A process that ends is an error of the request at hand, and so is an error that one reports. Both end the group, and
    the next request starts it anew: the other processes may be at another place, and vLLM 0.32 waits for ever for the
    rest of a batch in which a request failed.

    Args:
        name: of the engine, for messages.
        command: of each process.
        setup: the first line that each process gets.
        environments: one per process, on top of this process' own; asked anew for each start.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        setup: Mapping[str, Any],
        environments: Callable[[], Sequence[Mapping[str, str]]],
    ) -> None:
        self._name, self._command, self._setup, self._environments = name, list(command), dict(setup), environments
        self._processes: list[subprocess.Popen[bytes]] = []
        self._words: Any = None
        self.limits = Limits()
        self._start()

    def batches(self, lengths: Sequence[int], limits: Limits | None = None) -> list[list[int]]:
        """All rows in one batch."""
        return [list(range(len(lengths)))] if lengths else []

    def generate(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int]) -> list[list[Answer]]:
        """One batch. Raises RuntimeError with the reason, where a process fails or ends."""
        made = self._ask({"task": "generate", "prompts": [list(p) for p in prompts], "seeds": list(seeds)})
        return [[Answer(*answer) for answer in answers] for answers in made]

    def score(self, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]) -> list[list[float]]:
        """One batch. Raises RuntimeError with the reason, where a process fails or ends."""
        whole = {"prompts": [list(p) for p in prompts], "completions": [list(c) for c in completions]}
        scores: list[list[float]] = self._ask({"task": "score", **whole})
        return scores

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait(ENDING_SECONDS)
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()
        self._processes = []

    def _start(self) -> None:
        if self._words is not None:
            self._words.close()
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 (as long-lived as the processes that write to it)
        self._processes = [
            subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._words,
                env={**os.environ, **environment, "BATON_PARENT": str(os.getpid())}, bufsize=0,
            )
            for environment in self._environments()
        ]  # fmt: skip
        self.limits = Limits(**self._ask(self._setup))

    def _ask(self, request: Mapping[str, Any]) -> Any:
        if not self._processes:
            self._start()
        line = json.dumps(request).encode() + b"\n"
        try:
            for process in self._processes:
                assert process.stdin
                _write(process.stdin, line)
        except OSError:  # it has ended; its last words tell why
            self._fail("")
        pipes = {process.stdout.fileno(): rank for rank, process in enumerate(self._processes) if process.stdout}
        heard = dict.fromkeys(pipes, b"")
        results: dict[int, Any] = {}
        while len(results) < len(pipes):
            for pipe in (found for found in wait(list(heard)) if isinstance(found, int)):
                part = os.read(pipe, 1 << 20)
                if not part:
                    self._fail("")
                heard[pipe] += part
                if heard[pipe].endswith(b"\n"):
                    reply = json.loads(heard.pop(pipe))
                    if "error" in reply:
                        self._fail(reply["error"])
                    results[pipes[pipe]] = reply["result"]
        return results[0]

    def _fail(self, reason: str) -> None:
        """End the group, whose processes may now be at different places, and raise."""
        if not reason:
            self._wait_for_one()
        codes = [process.poll() for process in self._processes]
        self.close()
        if not reason:
            self._words.seek(0)
            said = self._words.read().decode(errors="replace").strip()[-ERROR_CHARACTERS:]
            ended = ", ".join(str(code) for code in codes if code is not None) or "unknown"
            reason = f"its process ended (exit code {ended}): {said or 'without a word'}"
        raise RuntimeError(f"{self._name}: {reason}")

    def _wait_for_one(self) -> None:
        """Wait until a process whose pipe has closed has an exit code."""
        end = time.monotonic() + ENDING_SECONDS
        while all(process.poll() is None for process in self._processes) and time.monotonic() < end:
            time.sleep(0.05)


def _write(pipe: Any, line: bytes) -> None:
    view = memoryview(line)
    while view:
        view = view[pipe.write(view) :]
