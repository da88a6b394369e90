"""Each DAG as a few lines of text, kept in ``graphs/`` beside the DAG files: a review of a change shows what it means."""

import difflib
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from orchestration.dag_file import DagFile, shown


def drawn(dag: Any) -> str:
    """One line for the DAG, one for each group of its form, one for each task in the order of the flow."""
    lines = [
        f"{dag.dag_id}: schedule {_schedule(dag)}, catchup {'on' if dag.catchup else 'off'}, "
        f"{dag.max_active_runs} run{'' if dag.max_active_runs == 1 else 's'} at a time, tags {' '.join(sorted(dag.tags))}",
        *_params(dag),
    ]
    for task in dag.topological_sort():
        others = len(dag.tasks) - 1
        after = "all" if len(task.upstream_task_ids) == others else ", ".join(sorted(task.upstream_task_ids)) or "–"
        notes = [f"retries {task.retries}", f"limit {task.execution_timeout}"]
        if getattr(task, "response_timeout", None):
            notes.append(f"answer within {task.response_timeout} or {task.defaults[0]}")
        if task.outlets:
            notes.append("emits " + ", ".join(asset.name for asset in task.outlets))
        if task.is_setup:
            notes.append("setup")
        if task.is_teardown:
            notes.append("teardown that decides the run" if task.on_failure_fail_dagrun else "teardown")
        elif (rule := str(getattr(task.trigger_rule, "value", task.trigger_rule))) != "all_success":
            notes.append(f"runs if {rule}")
        if task.is_mapped:
            notes.append("one for each item")
        kind = (task.operator_class if task.is_mapped else type(task)).__name__
        lines.append(f"  {task.task_id:<9} after {after:<9} {kind:<18} {task.pool:<13} {', '.join(notes)}")
    return "\n".join(lines) + "\n"


def differences(files: Iterable[DagFile], directory: Path, pattern: str) -> Iterator[str]:
    """Unified diffs of the graphs kept in ``directory`` under a glob to those of the files, new and removed included."""
    now = {f"{file.path.stem}.txt": _text(file) for file in files}
    kept = {path.name: path.read_text() for path in directory.glob(pattern)}
    for name in sorted(now.keys() | kept.keys()):
        before, after = kept.get(name, ""), now.get(name, "")
        if before != after:
            at = f"{shown(directory)}/{name}"
            yield "\n".join(difflib.unified_diff(before.splitlines(), after.splitlines(), at, at, lineterm="", n=1))


def accept(files: Iterable[DagFile], directory: Path, pattern: str) -> list[Path]:
    """Write the graphs of DAG files to ``directory``, and remove what a glob finds there of files that are gone."""
    directory.mkdir(exist_ok=True)
    written = []
    for file in files:
        written.append(directory / f"{file.path.stem}.txt")
        written[-1].write_text(_text(file))
    for path in set(directory.glob(pattern)) - set(written):
        path.unlink()
    return written


def _text(file: DagFile) -> str:
    return "\n".join(drawn(dag) for dag in file.dags)


def _schedule(dag: Any) -> str:
    given = dag.schedule
    if isinstance(given, list | tuple):
        return " and ".join(asset.name for asset in given)
    timetable = dag.timetable
    for name in ("expression", "delta"):
        if hasattr(timetable, name):
            return str(getattr(timetable, name))
    if given is None or isinstance(given, str):
        return str(given)
    assets = [asset.name for _, asset in given.iter_assets()] if hasattr(given, "iter_assets") else []
    return " ".join([type(given).__name__, *assets])


def _params(dag: Any) -> list[str]:
    """A line for each group of the form, with the values that the DAG sets."""
    params = [(name, dag.params.get_param(name)) for name in dag.params]
    return [
        f"  form · {section}: {' '.join(name if param.value is None else f'{name}={param.value}' for name, param in group)}"
        for section, group in itertools.groupby(params, key=lambda item: item[1].schema.get("section", ""))
    ]
