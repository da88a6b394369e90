"""Rules for every DAG, whoever wrote it: what would make it unsafe to run. Each names line and remedy.

What the project's own DAGs must be besides stands in ``product_rules.py``.
"""

import ast
import re
from collections.abc import Callable, Iterator
from typing import Any

from orchestration.dag_file import DagFile

# Line, what is wrong, remedy.
Found = Iterator[tuple[int, str, str]]
Rule = Callable[[DagFile, Any], Found]

BANNED_CALLS = re.compile(
    r"(^|\.)(now|today|utcnow|time|get_connection|urlopen|connect|open|read_text|getenv|Popen)$"
    r"|^(Variable|Connection|os|subprocess|socket|requests|httpx|random|uuid)\."
)
HEAVY_IMPORTS = {
    "ray",
    "pyspark",
    "torch",
    "transformers",
    "deepspeed",
    "peft",
    "mlflow",
    "matplotlib",
    "pandas",
    "numpy",
}
# A failure before a task with one of these makes it fail too; all others run, or are skipped, in spite of it.
PASSES_FAILURE_ON = {
    "all_success", "none_failed", "none_failed_min_one_success", "none_skipped", "all_done_setup_success", "one_success",
}  # fmt: skip


def parses_without_work(file: DagFile, dag: Any) -> Found:
    """A DAG file makes operators. The scheduler executes it every few seconds: clock, network, files belong into a task."""
    for name, line in imports(file.tree):
        if name.split(".")[0] in HEAVY_IMPORTS:
            yield line, f"imports {name} at every parse", "import it inside the task"
    for node in outside_functions(file.tree):
        if (isinstance(node, ast.Call) and BANNED_CALLS.search(ast.unparse(node.func))) or (
            isinstance(node, ast.Attribute | ast.Subscript) and re.search(r"\benviron\b", ast.unparse(node))
        ):
            yield node.lineno, f"{ast.unparse(node)[:60]} is evaluated at every parse", "do it inside a task"


def has_an_owner(file: DagFile, dag: Any) -> Found:
    for task in dag.tasks:
        if task.owner in ("", "airflow"):
            yield (
                file.line_of_task(task),
                f"task {task.task_id} has no owner",
                "default_args=DEFAULT_ARGS, or owner='…'",
            )


def ends_in_time(file: DagFile, dag: Any) -> Found:
    """Every task has a limit, and a question to a person has one after which its answer is known."""
    for task in dag.tasks:
        if task.execution_timeout is None:
            yield (
                file.line_of_task(task),
                f"task {task.task_id} has no time limit: a stuck one holds its slot until somebody looks",
                "set execution_timeout, or default_args=DEFAULT_ARGS",
            )
        if hasattr(task, "response_timeout") and not (task.response_timeout and task.defaults):
            yield (
                file.line_of_task(task),
                f"task {task.task_id} may wait for a person without end",
                "set response_timeout and defaults",
            )


def engine_jobs_take_a_slot(file: DagFile, dag: Any) -> Found:
    """Two trainings at the same time do not fit: what runs on Spark or Ray waits for a slot of its pool."""
    from orchestration.policy import RAY_POOL, SPARK_POOL

    for task in dag.tasks:
        pool = {"Ray": RAY_POOL, "Spark": SPARK_POOL}.get(engine_of(task) or "")
        if pool and task.pool == "default_pool":
            yield (
                file.line_of_task(task),
                f"task {task.task_id} runs on {engine_of(task)} without waiting for a slot: it is in pool default_pool",
                f"pool={pool!r}, or a pool of your own",
            )


def reports_failures(file: DagFile, dag: Any) -> Found:
    for task in dag.tasks:
        if not task.on_failure_callback and not dag.on_failure_callback:
            yield (
                file.line_of_task(task),
                f"nobody hears when task {task.task_id} fails",
                "default_args=DEFAULT_ARGS, or an on_failure_callback of your own",
            )


def bounds_its_runs(file: DagFile, dag: Any) -> Found:
    """How many runs at a time is said in the file, not left to a setting of the installation; and none for the past."""
    if file.keyword(dag, "max_active_runs") is None:
        yield (
            file.line_of_dag(dag),
            "DAG(…) does not say max_active_runs: the installation's default is 16 at a time",
            "max_active_runs=1",
        )
    if dag.catchup:
        yield (
            file.line_of_dag(dag),
            "catchup runs every time of the schedule since the start date",
            "catchup=False, and a backfill for the days that you need",
        )


def failures_end_the_run_as_failed(file: DagFile, dag: Any) -> Found:
    """Airflow judges a run by its last tasks alone: one that runs whatever came before it hides a failure.

    A ``ReportOperator`` looks at the tasks before it, and fails if one did.
    """
    ends = {task.task_id for task in dag.tasks if _decides(task) and not any(map(_decides, task.downstream_list))}
    for task in dag.tasks:
        todo, reached = [task], {task.task_id}
        while todo:
            for after in todo.pop().downstream_list:
                passes_on = _rule_of(after) in PASSES_FAILURE_ON and not after.is_teardown
                if after.task_id not in reached and (passes_on or "ReportOperator" in kinds_of(after)):
                    reached.add(after.task_id)
                    todo.append(after)
        if _decides(task) and not reached & ends:
            hiding = sorted(after.task_id for after in task.downstream_list if _decides(after))
            yield (
                file.line_of_task(task),
                f"the run ends as a success when task {task.task_id} failed: {', '.join(hiding)} runs in spite of it",
                "make what always runs a teardown: .as_teardown()",
            )


def requests_are_no_templates(file: DagFile, dag: Any) -> Found:
    """The text of a request must never become code. Tasks get RUN_DIR, and read the validated run.json."""
    for task in dag.tasks:
        for name in task.template_fields:
            for text in texts(_field(task, name)):
                for expression in re.findall(r"\{[{%].*?[%}]\}", text, re.DOTALL):
                    if re.search(r"\bparams\b|\bdag_run\b.*\bconf\b", expression):
                        yield (
                            file.line_of_task(task),
                            f"{name} of task {task.task_id} renders {expression!r}, text that a user sent",
                            "pass RUN_DIR, and read the settings from run.json in the task",
                        )


def waits_for_its_plan(file: DagFile, dag: Any) -> Found:
    """A task that is given the run's directory starts after *plan* made it, and so after the request was validated."""
    from orchestration.plan_task import RUN_DIR

    for task in dag.tasks:
        given = any(RUN_DIR in text for name in task.template_fields for text in texts(_field(task, name)))
        if given and "plan" not in {before.task_id for before in task.get_flat_relatives(upstream=True)}:
            yield (
                file.line_of_task(task),
                f"task {task.task_id} gets RUN_DIR and does not wait for plan, which makes that directory",
                "put it behind plan in the line of arrows",
            )


SAFETY_RULES: tuple[Rule, ...] = (
    parses_without_work,
    has_an_owner,
    ends_in_time,
    engine_jobs_take_a_slot,
    reports_failures,
    bounds_its_runs,
    failures_end_the_run_as_failed,
    requests_are_no_templates,
    waits_for_its_plan,
)


def engine_of(task: Any) -> str | None:
    """``Ray`` or ``Spark``, where a task's operator submits to one."""
    kinds = kinds_of(task)
    return "Ray" if "RayJobOperator" in kinds else "Spark" if "SparkSubmitOperator" in kinds else None


def kinds_of(task: Any) -> set[str]:
    """Names of a task's class and of those it is made from."""
    return {kind.__name__ for kind in (task.operator_class if task.is_mapped else type(task)).__mro__}


def texts(value: Any) -> Iterator[str]:
    """Every text in a value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in [*value.keys(), *value.values()]:
            yield from texts(item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from texts(item)


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Modules that are imported when the file is parsed, with the line; not those inside functions."""
    for node in outside_functions(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ".", node.lineno


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """Every node that is evaluated when the file is parsed; the bodies of ``@dag`` functions are."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            decorators = {ast.unparse(d).split("(")[0].rsplit(".", 1)[-1] for d in child.decorator_list}
            for part in child.decorator_list if "dag" not in decorators else (*child.decorator_list, *child.body):
                yield part
                yield from outside_functions(part)
        elif not isinstance(child, ast.Lambda):
            yield child
            yield from outside_functions(child)


def _decides(task: Any) -> bool:
    return not task.is_teardown or task.on_failure_fail_dagrun


def _rule_of(task: Any) -> str:
    return str(getattr(task.trigger_rule, "value", task.trigger_rule))


def _field(task: Any, name: str) -> Any:
    """A template field of a task; of a mapped one, what it is given alike for all items and for each."""
    if task.is_mapped:
        return [
            task.partial_kwargs.get(name),
            task.partial_kwargs.get("op_kwargs"),
            getattr(task.expand_input, "value", None),
        ]
    return getattr(task, name, None)
