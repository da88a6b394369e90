"""Each DAG as a few lines of text, kept beside it in ``graphs/``: a review of a change shows what it means.

``make dag-graphs`` (``python -m tests.dags.graphs``) writes them anew.
"""

import itertools
from pathlib import Path
from typing import Any

from tests.dags.dag_file import DAGS, load

GRAPHS = Path(__file__).with_name("graphs")


def drawn(dag: Any) -> str:
    """One line for the DAG, one for each task in the order of the flow."""
    assets = [asset.name for asset in dag.schedule] if isinstance(dag.schedule, list) else []
    schedule = " or ".join(assets) or getattr(dag.timetable, "expression", dag.schedule)
    lines = [
        f"{dag.dag_id}: schedule {schedule}, catchup {'on' if dag.catchup else 'off'}, "
        f"{dag.max_active_runs} run at a time, tags {' '.join(sorted(dag.tags))}",
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
        lines.append(
            f"  {task.task_id:<9} after {after:<9} {type(task).__name__:<18} {task.pool:<13} {', '.join(notes)}"
        )
    return "\n".join(lines) + "\n"


def _params(dag: Any) -> list[str]:
    """A line for each group of the form."""
    params = [(name, dag.params.get_param(name).schema.get("section", "")) for name in dag.params]
    return [
        f"  form · {section}: {' '.join(name for name, _ in group)}"
        for section, group in itertools.groupby(params, key=lambda param: param[1])
    ]


def main() -> None:
    for path in sorted(DAGS.glob("[!_]*.py")):
        target = GRAPHS / f"{path.stem}.txt"
        target.write_text(drawn(load(path).dag))
        print(target)


if __name__ == "__main__":
    main()
