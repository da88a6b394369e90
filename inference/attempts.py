"""Which rows a model's process died on, kept outside of it: what the next process reads before it begins.

Before each batch the rows go into a file. A process that begins a shard and finds rows there knows that another died on
them (or was killed from outside, which looks the same). It tries them first, in smaller batches. A row that was alone in
its batch at two deaths is given up.
"""

import json
from dataclasses import dataclass, field
from math import ceil, sqrt
from typing import Any

from inference.shards import Answers

DEATHS_ALONE = 2  # that give a row up. One may be an accident: a machine that went down, a kill from outside.
FEW_ROWS = 16  # a batch of so few is tried row by row; a larger one in pieces of its square root: 512, 23, 5, 1


def pieces(rows: list[int]) -> list[list[int]]:
    """A batch that a process died on, cut for the next try. Each further death costs loading the model once more."""
    size = 1 if len(rows) <= FEW_ROWS else ceil(sqrt(len(rows)))
    return [rows[start : start + size] for start in range(0, len(rows), size)]


@dataclass
class Attempts:
    """The tries of one shard.

    Attributes:
        answers: where the shard belongs.
        name: of the shard.
        suspects: batches to try first.
        alone: deaths of each row that was alone in its batch.
        running: rows of the batch that is being answered.
        deaths: processes that died on this shard.
    """

    answers: Answers
    name: str
    suspects: list[list[int]] = field(default_factory=list)
    alone: dict[int, int] = field(default_factory=dict)
    running: list[int] = field(default_factory=list)
    deaths: int = 0

    @classmethod
    def of(cls, answers: Answers, name: str) -> "Attempts":
        """The tries so far; what was running when the last process ended is under suspicion."""
        found = cls(answers, name)
        if (noted := answers.working.read(found._path)) is None:
            return found
        told: dict[str, Any] = json.loads(noted)
        found.suspects, found.alone = told["suspects"], {int(row): n for row, n in told["alone"].items()}
        died_on = told["running"]
        found.deaths = told["deaths"] + bool(died_on)
        if len(died_on) == 1:
            found.alone[died_on[0]] = found.alone.get(died_on[0], 0) + 1
        found.suspects = [*pieces(died_on), *(rows for rows in found.suspects if rows != died_on)]
        found.suspects = [rows for rows in found.suspects if not set(rows) & set(found.given_up)]
        return found

    @property
    def given_up(self) -> dict[int, int]:
        """Rows that are not tried again, and the deaths of each."""
        return {row: deaths for row, deaths in self.alone.items() if deaths >= DEATHS_ALONE}

    def begin(self, rows: list[int]) -> None:
        """Note the rows that are answered next; those before them went well."""
        self.suspects = [s for s in self.suspects if s != self.running]
        self.running = rows
        self._save()

    def end(self) -> None:
        """Note that the shard went to its end."""
        self.suspects, self.running = [], []
        if self.deaths:
            self._save()
        else:
            self.answers.working.remove(self._path)

    def _save(self) -> None:
        told = {"suspects": self.suspects, "alone": self.alone, "running": self.running, "deaths": self.deaths}
        self.answers.working.write(self._path, json.dumps(told).encode())

    @property
    def _path(self) -> str:
        return f"{self.answers.directory}/attempts/{self.name}.json"


@dataclass(frozen=True)
class Starts:
    """How often in a row one actor of the pool died while it loaded its model.

    Args:
        answers: where the actor works.
        actor: its id, which stays the same over restarts.
    """

    answers: Answers
    actor: str

    def begin(self) -> int:
        """Note a start. Returns the starts before it that came to nothing."""
        before = int(self.answers.working.read(self._path) or 0)
        self.answers.working.write(self._path, str(before + 1).encode())
        return before

    def loaded(self) -> None:
        """Note that the process has its model."""
        self.answers.working.remove(self._path)

    @property
    def _path(self) -> str:
        return f"{self.answers.directory}/starts/{self.actor}"


def restarts(answers: Answers) -> int:
    """How often a process died on a shard, so that another had to try it, in all attempts together.

    Only between passes: a batch that is being answered counts as a death.
    """
    names = answers.working.names(f"{answers.directory}/attempts")
    noted = [answers.working.read(f"{answers.directory}/attempts/{name}") for name in names if name.endswith(".json")]
    return sum(told["deaths"] + bool(told["running"]) for told in map(json.loads, filter(None, noted)))
