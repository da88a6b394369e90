"""Rules for the DAGs that the project ships, besides those for every DAG: what their docs, stages and reports promise.

A DAG of your own, be it a copy of one of these, is free of them.
"""

import ast
from typing import Any, get_args

from handoff.stages import Flow, declared, flow
from orchestration.dag_file import DagFile
from orchestration.dag_rules import Found, Rule, engine_of, imports, kinds_of

# The flow whose stages each shipped DAG runs; the file is called like the DAG.
SHIPPED: dict[str, Flow] = {
    "spark_to_ray": "training",
    "batch_inference": "inference",
    "engine_comparison": "comparison",
}
DAG_DOCS = ("Input", "Output", "Owner", "When a task fails", "Does a failure need someone at night?", "To rerun")


def is_shipped(file: DagFile, dag: Any) -> bool:
    return dag.dag_id in SHIPPED and file.path.stem == dag.dag_id


def says_what_it_is(file: DagFile, dag: Any) -> Found:
    """The DAG's docs are the file's docstring, and answer what one asks at night; every stage has a line of its own."""
    docs = dag.doc_md or ""
    for row in DAG_DOCS:
        if f"**{row}**" not in docs:
            yield file.line_of_dag(dag), f"the docs do not say **{row}**", "add the row to the table in the docstring"
    pools = next((line for line in docs.split("\n") if line.startswith("| **Pools**")), "")
    for task in _stages(dag):
        if not task.doc_md:
            yield file.line_of_task(task), f"task {task.task_id} has no docs", "give it doc_md, one line"
        if task.pool != "default_pool" and f"`{task.pool}`" not in pools:
            yield (
                file.line_of_task(task),
                f"task {task.task_id} waits for pool {task.pool}, which the docs do not tell how to make",
                "add it to the row **Pools** of the docstring",
            )


def has_the_policys_owner_and_tags(file: DagFile, dag: Any) -> Found:
    from orchestration.policy import OWNER, TAGS

    for task in _stages(dag):
        if task.owner != OWNER:
            yield (
                file.line_of_task(task),
                f"task {task.task_id} is owned by {task.owner!r}",
                f"leave owner to DEFAULT_ARGS ({OWNER})",
            )
    if missing := set(TAGS) - set(dag.tags):
        yield file.line_of_dag(dag), f"tags lack {', '.join(sorted(missing))}", "tags=[*TAGS, …]"


def runs_its_stages(file: DagFile, dag: Any) -> Found:
    """Each stage of the flow is a task of that name, behind the stage before it; tasks of yours may stand between."""
    before = ""
    for name in flow(SHIPPED[dag.dag_id]):
        if not dag.has_task(name):
            yield (
                file.line_of_dag(dag),
                f"no task is called {name!r}, a stage of this flow: report and later stages look for its record",
                f"task_id={name!r}, or take the stage out of handoff/stages.py",
            )
            continue
        task = dag.get_task(name)
        if before and before not in {other.task_id for other in task.get_flat_relatives(upstream=True)}:
            yield (
                file.line_of_task(task),
                f"task {name} does not wait for {before}, the stage before it",
                f"put it behind {before} in the line of arrows",
            )
        before = name


def runs_on_its_stages_engine(file: DagFile, dag: Any) -> Found:
    """A stage's operator submits to the engine that handoff/stages.py, and so the report, name, in the engine's pool."""
    from orchestration.policy import RAY_POOL, SPARK_POOL

    for task in _stages(dag):
        engine, said = engine_of(task), declared(task.task_id).engine
        if said != engine and (engine or said in ("Ray", "Spark")):
            yield (
                file.line_of_task(task),
                f"task {task.task_id} runs {f'on {engine}' if engine else 'in the worker'}, its stage's engine is {said}",
                "take the engine's operator, or correct handoff/stages.py",
            )
        pool = {"Ray": RAY_POOL, "Spark": SPARK_POOL}.get(engine or "", "default_pool")
        if task.pool != pool:
            yield file.line_of_task(task), f"task {task.task_id} is in pool {task.pool}", f"pool={pool!r}"


def retries_as_the_policy_says(file: DagFile, dag: Any) -> Found:
    """Retries are one policy: what a user must fix fails at once, the rest is retried up to three times."""
    from orchestration.policy import DEFAULT_ARGS

    for task in _stages(dag):
        for name in ("retries", "retry_delay", "retry_exponential_backoff", "max_retry_delay"):
            if getattr(task, name) != DEFAULT_ARGS[name]:
                yield (
                    file.line_of_task(task),
                    f"task {task.task_id} has {name} {getattr(task, name)}",
                    f"leave it to DEFAULT_ARGS ({DEFAULT_ARGS[name]}), or change it there for all",
                )


def starts_when_it_says(file: DagFile, dag: Any) -> Found:
    """Said in the file, not left to a setting of the installation."""
    for name, value in (("catchup", "False"), ("is_paused_upon_creation", "True"), ("schedule", "…")):
        if file.keyword(dag, name) is None:
            yield file.line_of_dag(dag), f"DAG(…) does not say {name}", f"write {name}={value}"
    if dag.max_active_runs > 2:
        yield file.line_of_dag(dag), f"{dag.max_active_runs} runs at a time", "max_active_runs=1"
    if not dag.is_paused_upon_creation:
        yield file.line_of_dag(dag), "it starts by itself once deployed", "is_paused_upon_creation=True"


def ends_with_a_report_that_decides_the_run(file: DagFile, dag: Any) -> Found:
    """Airflow decides a run by its last tasks. The report is the only one, after all others, and fails if one ended badly."""
    remedy = "make all tasks, then report = ReportOperator(…), and as the last line close_with(report)"
    for task in dag.tasks:
        if task.task_id != "report" and "report" not in task.downstream_task_ids:
            yield file.line_of_task(task), f"the run does not depend on how task {task.task_id} ends", remedy
    for task in (task for task in dag.tasks if not task.downstream_task_ids):
        setups = [name for name in task.upstream_task_ids if dag.get_task(name).is_setup]
        if "ReportOperator" not in kinds_of(task) or not (task.is_teardown and task.on_failure_fail_dagrun and setups):
            yield file.line_of_task(task), f"task {task.task_id} ends the flow", remedy


def leads_to_the_report(file: DagFile, dag: Any) -> Found:
    """Whoever looks at a task that failed finds the run's page there."""
    for task in _stages(dag):
        if "Report" not in [link.name for link in task.operator_extra_links]:
            yield (
                file.line_of_task(task),
                f"task {task.task_id} has no link Report",
                "take RayStageOperator, SparkJobOperator or JobOperator, or add ReportLink() to operator_extra_links",
            )


def renders_nothing_as_code(file: DagFile, dag: Any) -> Found:
    if dag.render_template_as_native_obj or dag.user_defined_macros:
        yield file.line_of_dag(dag), "the DAG changes how templates are rendered", "leave that alone"


def keeps_to_orchestration(file: DagFile, dag: Any) -> Found:
    """Of this project a shipped DAG file imports ``orchestration`` and the Ray provider; and it is no program."""
    for name, line in imports(file.tree):
        if name.split(".")[0] in (
            "handoff",
            "engines",
            "etl",
            "training",
            "evaluation",
            "registry",
            "inference",
            "comparison",
        ):
            yield line, f"imports {name}", "import it inside the task, or give orchestration/ a function"
    for node in file.tree.body:
        if isinstance(node, ast.ClassDef | ast.If | ast.For | ast.While | ast.Try):
            yield node.lineno, f"{type(node).__name__} at the top of the file", "move it to orchestration/"


PRODUCT_RULES: tuple[Rule, ...] = (
    says_what_it_is,
    has_the_policys_owner_and_tags,
    runs_its_stages,
    runs_on_its_stages_engine,
    retries_as_the_policy_says,
    starts_when_it_says,
    ends_with_a_report_that_decides_the_run,
    leads_to_the_report,
    renders_nothing_as_code,
    keeps_to_orchestration,
)


def _stages(dag: Any) -> list[Any]:
    """Tasks that are stages, and the question to a person between them; a task of one's own is neither."""
    known = {name for kind in get_args(Flow) for name in flow(kind)} | {"approve"}
    return [task for task in dag.tasks if task.task_id in known]
