"""A run's directory: the validated configuration that every job reads, and the record that every stage leaves."""

import contextlib
import json
import resource
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field

from handoff.artifact import Artifact, open_artifact
from handoff.causes import cause_of
from handoff.errors import ConfigError
from handoff.manifest import now
from handoff.stages import flow
from handoff.store import Store

Section = TypeVar("Section", bound=BaseModel)


class Phase(BaseModel):
    name: str
    seconds: float


class StageRecord(BaseModel):
    """What one stage did, for the report and for the next reader. Written when the stage starts and when it ends."""

    stage: str
    status: Literal["running", "success", "failed", "skipped"] = "running"
    started: datetime
    ended: datetime | None = None
    artifact: str | None = Field(default=None, description="id of the artifact that the stage made or found")
    reused: bool = Field(default=False, description="the artifact was already published; nothing was written")
    headline: str = Field(default="", description="one line for people; of a skipped stage the reason")
    phases: list[Phase] = []
    metrics: dict[str, Any] = {}
    error: str | None = None
    retry_helps: bool = Field(default=True, description="of a failed stage: False where the user must fix something")
    peak_rss_bytes: int | None = Field(default=None, description="of this process; engines' workers are not in it")

    @property
    def seconds(self) -> float:
        return ((self.ended or now()) - self.started).total_seconds()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a part of the stage."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.phases.append(Phase(name=name, seconds=time.monotonic() - start))


class RunDir:
    """Access to ``run.json`` and ``stages/`` of one run.

    Args:
        uri: absolute path or URI of the run's directory.
    """

    def __init__(self, uri: str) -> None:
        self._files = Store(uri)
        self.uri = self._files.root
        self.name = self.uri.rstrip("/").rsplit("/", 1)[-1]

    def create(self, storage: str, config: dict[str, Any], stages: Sequence[str] = flow("training")) -> None:
        """Write ``run.json``: where artifacts go, the stages that the run has, and the whole validated configuration."""
        document = {"storage": storage, "stages": list(stages), "config": config}
        self._files.write("run.json", json.dumps(document, indent=2, ensure_ascii=False).encode())

    def _document(self) -> dict[str, Any]:
        try:
            return json.loads(self._files.read("run.json"))
        except FileNotFoundError:
            raise ConfigError(f"{self.uri} has no run.json. Remedy: run the plan stage, or correct the path") from None

    @property
    def exists(self) -> bool:
        """Whether a plan has made this directory."""
        try:
            self._document()
        except ConfigError:
            return False
        return True

    @property
    def config(self) -> dict[str, Any]:
        return self._document()["config"]

    def section(self, name: str, model: type[Section]) -> Section:
        """One validated section of the configuration."""
        return model.model_validate(self.config[name])

    @property
    def store(self) -> Store:
        """Where this run's artifacts live."""
        return Store(self._document()["storage"])

    @property
    def stages(self) -> tuple[str, ...]:
        """The run's stages in the order of its flow; those of a training run where ``run.json`` is missing."""
        try:
            return tuple(self._document().get("stages", flow("training")))
        except ConfigError:
            return flow("training")

    def record(self, stage: str) -> StageRecord | None:
        """The record of a stage, or None where it has not started."""
        try:
            return StageRecord.model_validate_json(self._files.read(f"stages/{stage}.json"))
        except FileNotFoundError:
            return None

    def records(self) -> list[StageRecord]:
        """Records of the stages that have started, in the order of the flow."""
        return [r for s in self.stages if (r := self.record(s))]

    def artifact(self, stage: str, **checks: Any) -> Artifact:
        """Open the artifact that a stage of this run made or found; ``checks`` as in ``open_artifact``."""
        record = self.record(stage)
        if record is None or record.artifact is None:
            raise ConfigError(f"{self.uri}: the {stage} stage has made no artifact. Remedy: run it first")
        return open_artifact(self.store, record.artifact, **checks)

    def save(self, record: StageRecord) -> None:
        self._files.write(f"stages/{record.stage}.json", record.model_dump_json(indent=2).encode())

    def save_tasks(self, states: dict[str, str]) -> None:
        """Keep Airflow's state of each task, in the order of the flow: what a record cannot tell, such as a mark by hand."""
        self._files.write("tasks.json", json.dumps(states, indent=2).encode())

    @property
    def tasks(self) -> dict[str, str]:
        """Airflow's states as the report task found them; empty where no report was made yet, or only by hand."""
        try:
            return json.loads(self._files.read("tasks.json"))
        except FileNotFoundError:
            return {}

    def skip(self, stage: str, reason: str) -> None:
        """Record that a stage was left out on purpose, and why."""
        self.save(StageRecord(stage=stage, status="skipped", started=now(), ended=now(), headline=reason))

    def write(self, name: str, data: bytes) -> str:
        """Write a file of the run (a report, a log); returns its absolute path or URI."""
        self._files.write(name, data)
        return self._files.uri(name)

    def read(self, name: str) -> bytes:
        return self._files.read(name)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[StageRecord]:
        """Run a stage and leave its record, whatever happens short of a kill or of a store that is gone."""
        record = StageRecord(stage=name, started=now())
        self.save(record)
        reachable = True
        try:
            yield record
            record.status = "success"
            _read_back(record)
        except BaseException as error:
            cause = cause_of(error)
            record.status, record.error, record.retry_helps = "failed", cause.told, cause.retry_helps
            reachable = not cause.store_is_gone
            raise
        finally:
            record.ended = now()
            record.peak_rss_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            if reachable:
                self.save(_writable(record))


def _read_back(record: StageRecord) -> None:
    """See that a record can be written and read again. Raises ValueError."""
    StageRecord.model_validate_json(record.model_dump_json(warnings="error").encode())


def _writable(record: StageRecord) -> StageRecord:
    """A record, or what is certain of it where a stage put something into it that is no JSON."""
    try:
        _read_back(record)
    except Exception:  # of whatever was put there
        kept = {"stage", "status", "started", "ended", "error", "retry_helps", "peak_rss_bytes"}
        return StageRecord(**{key: getattr(record, key) for key in kept})
    return record
