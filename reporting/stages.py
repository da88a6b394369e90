"""The stages of a run as the report shows them: state, engine, time, and their place on one time line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from handoff.endings import bad_endings
from handoff.run_dir import Phase, StageRecord
from handoff.stages import declared, flow

LONG_PAUSE_SECONDS = 600.0  # a stage that was rerun the next day must not squeeze the others to hair lines
TICK_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)
MOST_TICKS = 6

STATES = {
    "made": "✓ made",
    "reused": "↺ reused",
    "done": "✓ done",
    "failed": "✗ failed",
    "unfinished": "… no end recorded",
    "absent": "– not run",
    "skipped": "– skipped",
    "stopped": "✗ skipped by hand",
    "removed": "✗ removed",
    "writing": "✓ this page",
}


@dataclass(frozen=True)
class Stage:
    """One stage; ``why`` says in words why it made nothing, and is empty where it did its work."""

    name: str
    state: str
    record: StageRecord | None
    why: str = ""

    @property
    def engine(self) -> str:
        return declared(self.name).engine

    @property
    def work(self) -> str:
        return declared(self.name).summary

    @property
    def mark(self) -> str:
        return STATES[self.state]

    @property
    def ended_how(self) -> str:
        """How a stage that did not do its work ended, after its name."""
        return {
            "failed": "failed",
            "unfinished": "did not end",
            "absent": "did not start",
            "stopped": "was skipped by hand",
            "removed": "was removed from the DAG",
        }[self.state]

    @property
    def seconds(self) -> float | None:
        """Time taken; None where the stage has not run or its end is not known."""
        return None if self.record is None or self.state in ("absent", "unfinished", "skipped") else self.record.seconds


def stages_of(
    records: Sequence[StageRecord], names: Sequence[str] = flow("training"), tasks: Mapping[str, str] | None = None
) -> list[Stage]:
    """All stages named, in order, the ones without a record too, and every other task that ended badly.

    Airflow's state of a task counts before its record, which may be of an earlier attempt, or of work whose task was then
    marked as failed. What follows a skipped stage is skipped with it.

    Args:
        records: of the stages that have started.
        names: of the run's stages.
        tasks: Airflow's states, in the order of the flow; empty where they are not known.
    """
    by_name, states = {r.stage: r for r in records}, tasks or {}
    bad = {name: how for name, how in bad_endings(states, by_name).items() if name != "report"}
    order = list(states) or list(names)
    shown = [*names, *(name for name in bad if name not in names)]
    shown.sort(key=lambda name: order.index(name) if name in order else len(order))
    ended = [n for n in shown if n in bad and states[n] != "upstream_failed"]
    ended += [
        r.stage for r in records if r.status == "failed" and r.stage != "report" and states.get(r.stage) != "success"
    ]
    broken = next((n for n in shown if n in ended), None)
    skipped = next((n for n in shown if states.get(n) == "skipped" and n not in bad), None) or next(
        (r.stage for r in records if r.status == "skipped"), None
    )
    found: list[Stage] = []
    for name in shown:
        record = by_name.get(name)
        told = _by_airflow(name, states.get(name), record, bad.get(name), broken, skipped)
        first = not broken and all(s.state != "absent" for s in found)
        found.append(told or _by_record(name, record, broken, skipped, first))
    return found


def _by_airflow(
    name: str, state: str | None, record: StageRecord | None, how: str | None, broken: str | None, skipped: str | None
) -> Stage | None:
    """The stage as Airflow's state has it, where that says more than the record; else None."""
    if state == "failed" and how and not (record and record.status == "failed"):
        return Stage(name, "failed", record, f"the {name} task {how}")
    if state == "removed" and how:
        return Stage(name, "removed", None, f"the {name} task {how}")
    if state == "upstream_failed":
        return Stage(
            name, "absent", None, f"the {broken} stage failed before it" if broken else "a task before it failed"
        )
    if state == "skipped" and how:
        return Stage(name, "stopped", None, f"the {name} task {how}")
    if state == "skipped" and not (record and record.status == "skipped"):
        why = f"the {broken} stage ended badly before it" if broken else f"the {skipped} stage was skipped before it"
        return Stage(name, "skipped", None, why)
    return None


def _by_record(name: str, record: StageRecord | None, broken: str | None, skipped: str | None, first: bool) -> Stage:
    if record is None and skipped and not broken and name != "report":
        return Stage(name, "skipped", None, f"the {skipped} stage was skipped before it")
    if record is None:
        why = f"the {broken} stage failed before it" if broken else "the stages before it did not finish"
        return Stage(name, "absent", None, "it did not start, see the task's log in Airflow" if first else why)
    if name == "report":
        return Stage(name, "writing", record)
    if record.status == "skipped":
        return Stage(name, "skipped", record, record.headline)
    if record.status == "failed":
        return Stage(name, "failed", record, f"the {name} stage failed")
    if record.status == "running":
        return Stage(name, "unfinished", record, "its end was not recorded: it was killed, or still runs")
    return Stage(name, "reused" if record.reused else "made" if declared(name).publishes else "done", record)


@dataclass(frozen=True)
class Bar:
    """A stage on the time line, in percent of its width; segments in percent of the bar."""

    stage: Stage
    left: float
    width: float
    segments: list[tuple[Phase, float]]


@dataclass(frozen=True)
class Timeline:
    bars: list[Bar]
    ticks: list[tuple[float, float]]  # percent of the width, seconds
    seconds: float
    started: datetime | None
    pauses: list[tuple[str, float]]  # stage, seconds of the long pause before it, which the line leaves out


def timeline_of(stages: Sequence[Stage]) -> Timeline:
    """Place all stages whose time is known on one line; pauses over ten minutes are cut out of it and listed."""
    timed = [s for s in stages if s.record and s.seconds is not None]
    if not timed:
        return Timeline([], [], 0.0, None, [])
    ordered = sorted((s.record for s in timed if s.record), key=lambda r: r.started)
    begin = ordered[0].started
    offsets: dict[str, float] = {}
    pauses, cut, last_end = [], 0.0, 0.0
    for record in ordered:
        offset = (record.started - begin).total_seconds()
        if offset - last_end > LONG_PAUSE_SECONDS:
            pauses.append((record.stage, offset - last_end))
            cut += offset - last_end
        last_end = max(last_end, offset + record.seconds)
        offsets[record.stage] = offset - cut
    total = max(max(offsets[s.name] + (s.seconds or 0.0) for s in timed), 1e-3)
    bars = [
        Bar(s, 100 * offsets[s.name] / total, 100 * (s.seconds or 0.0) / total, _segments(s, s.seconds or 0.0))
        for s in timed
    ]
    step = next((t for t in TICK_STEPS if total / t <= MOST_TICKS), TICK_STEPS[-1])
    ticks = [(100 * n * step / total, float(n * step)) for n in range(int(total // step) + 1)]
    return Timeline(bars, ticks, total, begin, pauses)


def _segments(stage: Stage, seconds: float) -> list[tuple[Phase, float]]:
    """Phases follow each other; where their sum exceeds the stage (nested phases) they are scaled to fit."""
    phases = stage.record.phases if stage.record else []
    whole = max(seconds, sum(p.seconds for p in phases), 1e-9)
    return [(p, 100 * p.seconds / whole) for p in phases]
