"""Every DAG obeys every rule; and every rule can fail: on a copy of a DAG that breaks it, it speaks up."""

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.dags.dag_file import DAGS, EXPECTED, DagFile, load
from tests.dags.rules import RULES, Rule


@pytest.fixture(scope="module")
def files() -> dict[str, DagFile]:
    return {path.name: load(path) for path in sorted(DAGS.glob("[!_]*.py"))}


def test_exactly_these_dags(files: dict[str, DagFile]) -> None:
    assert {name: file.dag.dag_id for name, file in files.items()} == EXPECTED


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_dags_obey(name: str, rule: Rule, files: dict[str, DagFile]) -> None:
    assert rule(files[name]) == []


@dataclass(frozen=True)
class Mutation:
    """A way to break a DAG.

    Attributes:
        rule: who must speak up.
        old, new: text of ``spark_to_ray.py`` to replace, once.
        says: what the message must name.
    """

    rule: str
    old: str
    new: str
    says: str


TASK = 'task_id="train",'
ON_RAY = """RayStageOperator(
        task_id="predict",
        doc_md="Ray Data: an actor pool answers the prompts with the tuned model.",
        entrypoint=["python", "-m", "inference.job", RUN_DIR],"""
IN_THE_WORKER = 'JobOperator(task_id="predict", doc_md="x", module="inference.job", run_dir=RUN_DIR,'
CLOSED = "    close_with(report)\n"
LATE = '    plan >> JobOperator(task_id="late", doc_md="x", module="x", run_dir=RUN_DIR)\n'
MUTATIONS = [
    Mutation("says_what_it_is", "| **Owner** | data-platform |\n", "", "**Owner**"),
    Mutation("says_what_it_is", "    doc_md=__doc__,\n", "", "**Input**"),
    Mutation("says_what_it_is", '        doc_md="MLflow: registers the tuned model and moves the alias to it.",\n', "", "promote"),
    Mutation("says_what_it_is", "`spark` and `ray` must", "they must", "pool spark"),
    Mutation("has_owner_and_tags", TASK, f'{TASK} owner="me",', "train"),
    Mutation("has_owner_and_tags", "[*TAGS, ", "[", "baton"),
    Mutation("ends_in_time", "execution_timeout=TRAIN_TIMEOUT", "execution_timeout=None", "train"),
    Mutation("ends_in_time", "        response_timeout=APPROVAL_TIMEOUT,\n", "", "approve"),
    Mutation("is_in_its_engines_pool", "        pool=SPARK_POOL,\n", "", "corpus"),
    Mutation("is_in_its_engines_pool", '"promote",', '"promote", pool="ray",', "promote"),
    Mutation("runs_on_its_stages_engine", ON_RAY, IN_THE_WORKER, "predict"),
    Mutation("runs_on_its_stages_engine", TASK, 'task_id="tune",', "not declared"),
    Mutation("retries_as_the_policy_says", TASK, f"{TASK} retries=9,", "train"),
    Mutation("retries_as_the_policy_says", TASK, f"{TASK} retry_exponential_backoff=0,", "train"),
    Mutation("tells_of_a_failure", TASK, f"{TASK} on_failure_callback=None,", "train"),
    Mutation("bounds_its_runs", "    catchup=False,\n", "", "catchup"),
    Mutation("bounds_its_runs", "    max_active_runs=1,\n", "", "max_active_runs"),
    Mutation("bounds_its_runs", "max_active_runs=1", "max_active_runs=16", "16 runs"),
    Mutation("bounds_its_runs", "is_paused_upon_creation=True", "is_paused_upon_creation=False", "starts by itself"),
    Mutation("ends_with_a_report_that_decides_the_run", CLOSED, "", "report"),
    Mutation("ends_with_a_report_that_decides_the_run", CLOSED, "    predict >> report\n", "task plan ends"),
    Mutation("ends_with_a_report_that_decides_the_run", CLOSED, CLOSED + "    report.on_failure_fail_dagrun = False\n", "report"),
    Mutation("ends_with_a_report_that_decides_the_run", CLOSED, CLOSED + LATE, "late"),
    Mutation("leads_to_the_report", "from orchestration.ray import", "from airflow_ray.operator import RayJobOperator as", "train"),
    Mutation("begins_with_the_plan", "    plan >> corpus", "    corpus", "corpus"),
    Mutation("renders_the_run_directory_only", '"training.job", RUN_DIR]', '"training.job", "{{ params.source }}"]', "train"),
    Mutation("renders_the_run_directory_only", "    catchup=False,", "    catchup=False,\n    render_template_as_native_obj=True,", "rendered"),
    Mutation("imports_orchestration_only", "from airflow.sdk import DAG", "import torch\nfrom airflow.sdk import DAG", "torch"),
    Mutation("imports_orchestration_only", "from airflow.sdk import DAG", "from airflow.sdk import DAG\nfrom etl.config import CorpusConfig", "etl.config"),
    Mutation("calls_only_what_builds_the_dag", 'SCHEDULE = "@daily"', 'from datetime import datetime\nDAY = datetime.now()\nSCHEDULE = "@daily"', "datetime.now"),
    Mutation("calls_only_what_builds_the_dag", '"demo"', 'Variable.get("preset")', "Variable.get"),
    Mutation("calls_only_what_builds_the_dag", '"demo"', 'os.environ["PRESET"]', "environ"),
    Mutation("calls_only_what_builds_the_dag", '"demo"', 'BaseHook.get_connection("x").host', "get_connection"),
    Mutation("calls_only_what_builds_the_dag", '"demo"', 'open("preset").read()', "open"),
    Mutation("calls_only_what_builds_the_dag", '"2g"', 'requests.get(f"{URL}/memory").text', "requests.get"),
    Mutation("holds_no_logic", "# --\n\nwith", "# --\n\n\ndef helper() -> None: ...\n\n\nwith", "FunctionDef"),
    Mutation("holds_no_logic", "# --\n\nwith", "# --\n" + "\n" * 60 + "with", "lines below"),
]  # fmt: skip
READS_SOURCE_ONLY = {"imports_orchestration_only", "calls_only_what_builds_the_dag", "holds_no_logic"}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: f"{m.rule}-{MUTATIONS.index(m)}")
def test_a_broken_dag_is_reported(mutation: Mutation, files: dict[str, DagFile], tmp_path: Path) -> None:
    whole = files["spark_to_ray.py"]
    assert whole.source.count(mutation.old) >= 1, "this mutation changes nothing: bring it up to date with the DAG"
    broken = whole.source.replace(mutation.old, mutation.new, 1)
    if mutation.rule in READS_SOURCE_ONLY:  # what it would do when executed is what it must not do
        file = DagFile(whole.name, broken, ast.parse(broken), whole.dag)
    else:
        path = tmp_path / "spark_to_ray.py"
        path.write_text(broken)
        file = load(path)
    (rule,) = (rule for rule in RULES if rule.__name__ == mutation.rule)
    messages = rule(file)
    assert messages, f"{mutation.rule} did not notice"
    assert any(mutation.says in message for message in messages), messages
    assert all(message.startswith("dags/spark_to_ray.py") and "Remedy: " in message for message in messages), messages


def test_every_rule_has_a_dag_that_breaks_it() -> None:
    assert {mutation.rule for mutation in MUTATIONS} == {rule.__name__ for rule in RULES}
