"""What holds for every DAG: one function a rule. Each returns messages that name file, task and remedy; none: all well.

``test_rules.py`` runs every rule on every DAG, and proves with broken copies that each rule can fail.
"""

import ast
import re
from collections.abc import Callable, Iterator
from typing import Any

from tests.dags.dag_file import DagFile

Rule = Callable[[DagFile], list[str]]

LONGEST_FLOW_LINES = 120  # without the docs
DAG_DOCS = ("Input", "Output", "Owner", "When a task fails", "Does a failure need someone at night?", "To rerun")


def says_what_it_is(file: DagFile) -> list[str]:
    """The DAG's docs are the file's docstring, and answer what one asks at night; every task has a line of its own."""
    docs = file.dag.doc_md or ""
    found = [
        f"{file.name}: its docs do not say **{row}**. Remedy: add the row to the table in the file's docstring"
        for row in DAG_DOCS
        if f"**{row}**" not in docs
    ]
    for task in file.dag.tasks:
        if not task.doc_md:
            found.append(f"{file.name}: task {task.task_id} has no docs. Remedy: give it doc_md, one line")
        row = next((line for line in docs.split("\n") if line.startswith("| **Pools**")), "")
        if task.pool != "default_pool" and f"`{task.pool}`" not in row:
            found.append(
                f"{file.name}: task {task.task_id} waits for pool {task.pool}, which the docs do not tell how to make. "
                "Remedy: add it to the row **Pools**"
            )
    return found


def has_owner_and_tags(file: DagFile) -> list[str]:
    from orchestration.policy import OWNER, TAGS

    found = [
        f"{file.name}: task {task.task_id} is owned by {task.owner!r}. Remedy: leave owner to DEFAULT_ARGS ({OWNER})"
        for task in file.dag.tasks
        if task.owner != OWNER
    ]
    if missing := set(TAGS) - set(file.dag.tags):
        found.append(f"{file.name}: tags lack {', '.join(sorted(missing))}. Remedy: tags=[*TAGS, …]")
    return found


def ends_in_time(file: DagFile) -> list[str]:
    """Every task has a limit, and a question to a person has one after which its answer is known."""
    found = []
    for task in file.dag.tasks:
        if task.execution_timeout is None:
            found.append(
                f"{file.name}: task {task.task_id} may run for ever. Remedy: set execution_timeout, or use DEFAULT_ARGS"
            )
        if hasattr(task, "response_timeout") and not (task.response_timeout and task.defaults):
            found.append(
                f"{file.name}: task {task.task_id} may wait for a person for ever. Remedy: set response_timeout"
            )
    return found


def is_in_its_engines_pool(file: DagFile) -> list[str]:
    """What runs on Spark or Ray takes a slot of its pool; what runs in the worker does not wait for one."""
    from orchestration.policy import RAY_POOL, SPARK_POOL

    found = []
    for task in file.dag.tasks:
        kinds = [kind.__name__ for kind in type(task).__mro__]
        pool = "default_pool"
        if "RayJobOperator" in kinds:
            pool = RAY_POOL
        elif "SparkSubmitOperator" in kinds:
            pool = SPARK_POOL
        if task.pool != pool:
            found.append(f"{file.name}: task {task.task_id} is in pool {task.pool}. Remedy: pool={pool!r}")
    return found


def runs_on_its_stages_engine(file: DagFile) -> list[str]:
    """A stage's operator submits to the engine that handoff/stages.py, and so the report, name."""
    from handoff.stages import declared

    found = []
    for task in file.dag.tasks:
        kinds = [kind.__name__ for kind in type(task).__mro__]
        engine = "Ray" if "RayJobOperator" in kinds else "Spark" if "SparkSubmitOperator" in kinds else None
        said = declared(task.task_id).engine
        if said != engine and (engine or said in ("Ray", "Spark")):
            found.append(
                f"{file.name}: task {task.task_id} is a {kinds[0]}, its stage's engine is {said or 'not declared'}. "
                "Remedy: take the engine's operator, or correct handoff/stages.py"
            )
    return found


def retries_as_the_policy_says(file: DagFile) -> list[str]:
    from orchestration.policy import DEFAULT_ARGS

    names = ("retries", "retry_delay", "retry_exponential_backoff", "max_retry_delay")
    return [
        f"{file.name}: task {task.task_id} has {name} {getattr(task, name)}. "
        f"Remedy: leave it to DEFAULT_ARGS ({DEFAULT_ARGS[name]}), or change it there for all"
        for task in file.dag.tasks
        for name in names
        if getattr(task, name) != DEFAULT_ARGS[name]
    ]


def tells_of_a_failure(file: DagFile) -> list[str]:
    from orchestration.policy import notify_failure

    return [
        f"{file.name}: nobody hears when task {task.task_id} fails. Remedy: leave on_failure_callback to DEFAULT_ARGS"
        for task in file.dag.tasks
        if notify_failure not in (task.on_failure_callback or ())
    ]


def bounds_its_runs(file: DagFile) -> list[str]:
    """Said in the file, not left to a setting of the installation: how many runs at a time, and none for the past."""
    found = [
        f"{file.name}: DAG(…) does not say {name}. Remedy: write {name}={value}"
        for name, value in (
            ("max_active_runs", 1),
            ("catchup", False),
            ("is_paused_upon_creation", True),
            ("schedule", ""),
        )
        if name not in file.call
    ]
    if file.dag.catchup:
        found.append(f"{file.name}: catchup would run every day since the start. Remedy: catchup=False, and backfill")
    if file.dag.max_active_runs > 2:
        found.append(f"{file.name}: {file.dag.max_active_runs} runs at a time. Remedy: max_active_runs=1")
    if not file.dag.is_paused_upon_creation:
        found.append(f"{file.name}: starts by itself once deployed. Remedy: is_paused_upon_creation=True")
    return found


def ends_with_a_report_that_decides_the_run(file: DagFile) -> list[str]:
    """Airflow decides a run by its last tasks. The report is the only one, after all others, and fails if one ended badly."""
    remedy = "Remedy: make all tasks, then report = ReportOperator(…), and as the last line close_with(report)"
    found = []
    for task in file.dag.tasks:
        if task.task_id != "report" and "report" not in task.downstream_task_ids:
            found.append(f"{file.name}: the run does not depend on how task {task.task_id} ends. {remedy}")
    for task in (task for task in file.dag.tasks if not task.downstream_task_ids):
        kinds = [kind.__name__ for kind in type(task).__mro__]
        setups = [name for name in task.upstream_task_ids if file.dag.get_task(name).is_setup]
        if "ReportOperator" not in kinds or not (task.is_teardown and task.on_failure_fail_dagrun and setups):
            found.append(f"{file.name}: task {task.task_id} ends the flow. {remedy}")
    return found


def leads_to_the_report(file: DagFile) -> list[str]:
    """Whoever looks at a task that failed finds the run's page there."""
    return [
        f"{file.name}: task {task.task_id} has no link Report. Remedy: take RayStageOperator, SparkJobOperator or JobOperator, "
        "or add ReportLink() to operator_extra_links"
        for task in file.dag.tasks
        if not task.is_setup and "Report" not in [link.name for link in task.operator_extra_links]
    ]


def begins_with_the_plan(file: DagFile) -> list[str]:
    """No task can start before the request was validated."""
    plans = {task.task_id for task in file.dag.tasks if type(task).__name__ == "PlanOperator"}
    return [
        f"{file.name}: task {task.task_id} does not wait for the plan. Remedy: put it behind plan in the arrow line"
        for task in file.dag.tasks
        if task.task_id not in plans
        and not task.is_setup
        and not plans & {above.task_id for above in task.get_flat_relatives(upstream=True)}
    ]


def renders_the_run_directory_only(file: DagFile) -> list[str]:
    """Jinja sees one expression, which we wrote, and whose value is not rendered again: no text of a request is code."""
    from orchestration.plan_task import RUN_DIR

    found = []
    for task in file.dag.tasks:
        for name in task.template_fields:
            for text in _texts(getattr(task, name, None)):
                if re.search(r"\{\{|\{%|\{#", text.replace(RUN_DIR, "")):
                    found.append(
                        f"{file.name}: {name} of task {task.task_id} renders {text!r}. Remedy: pass RUN_DIR, and read "
                        "settings from run.json"
                    )
        if getattr(task, "render_template_as_native_obj", False):
            found.append(f"{file.name}: task {task.task_id} evaluates what it renders. Remedy: leave that off")
    if file.dag.render_template_as_native_obj or file.dag.user_defined_macros:
        found.append(f"{file.name}: the DAG changes how templates are rendered. Remedy: leave that alone")
    return found


def imports_orchestration_only(file: DagFile) -> list[str]:
    """Of this project, ``orchestration``; of Airflow, ``airflow.sdk``; of the rest, the standard library's datetime."""
    allowed = ("orchestration", "airflow_ray", "airflow.sdk", "datetime")
    return [
        f"{file.name}, line {line}: imports {name}. Remedy: give orchestration/ a function that does it in the task"
        for name, line in _imports(file.tree)
        if not any(name == prefix or name.startswith(f"{prefix}.") for prefix in allowed)
    ]


def calls_only_what_builds_the_dag(file: DagFile) -> list[str]:
    """At parse a DAG file makes operators. Reading a clock, variables, connections or files belongs into a task."""
    banned = re.compile(
        r"(^|\.)(now|today|utcnow|time|get_connection|urlopen|connect|open|read_text|getenv|Popen)$"
        r"|^(Variable|Connection|os|subprocess|socket|requests|httpx|random|uuid)\."
    )
    return [
        f"{file.name}, line {node.lineno}: {ast.unparse(node)[:60]} is evaluated at every parse. Remedy: do it in a task"
        for node in _outside_functions(file.tree)
        if (isinstance(node, ast.Call) and banned.search(ast.unparse(node.func)))
        or (isinstance(node, ast.Attribute | ast.Subscript) and re.search(r"\benviron\b", ast.unparse(node)))
    ]


def holds_no_logic(file: DagFile) -> list[str]:
    """A DAG file reads as the flow: constants, operators, one line of arrows."""
    found = []
    docs = file.tree.body[0].end_lineno or 0
    lines = len(file.source.rstrip("\n").split("\n")) - docs
    if lines > LONGEST_FLOW_LINES:
        found.append(
            f"{file.name}: {lines} lines below its docs, the limit is {LONGEST_FLOW_LINES}. Remedy: move logic to orchestration/"
        )
    for node in file.tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.If | ast.For | ast.While | ast.Try):
            found.append(
                f"{file.name}, line {node.lineno}: {type(node).__name__} in a DAG file. Remedy: move it to orchestration/"
            )
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in [*value.keys(), *value.values()]:
            yield from _texts(item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from _texts(item)


def _imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ".", node.lineno


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from _outside_functions(child)


RULES: tuple[Rule, ...] = (
    says_what_it_is,
    has_owner_and_tags,
    ends_in_time,
    is_in_its_engines_pool,
    runs_on_its_stages_engine,
    retries_as_the_policy_says,
    tells_of_a_failure,
    bounds_its_runs,
    ends_with_a_report_that_decides_the_run,
    leads_to_the_report,
    begins_with_the_plan,
    renders_the_run_directory_only,
    imports_orchestration_only,
    calls_only_what_builds_the_dag,
    holds_no_logic,
)
