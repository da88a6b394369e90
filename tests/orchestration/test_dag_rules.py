"""Every shipped DAG obeys every rule; and every rule can fail: on a copy of a DAG that breaks it, it speaks up."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestration.dag_check import check
from orchestration.dag_file import PROJECT, load
from orchestration.dag_rules import SAFETY_RULES
from orchestration.product_rules import PRODUCT_RULES, SHIPPED

DAGS = PROJECT / "dags"


def test_exactly_these_dags() -> None:
    """No rule can pass because no file was looked at."""
    done = check([DAGS])
    assert {file.path.stem: [dag.dag_id for dag in file.dags] for file in done.files} == {n: [n] for n in SHIPPED}
    assert done.findings == []


def test_airflow_finds_the_same_dags() -> None:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(DAGS))
    assert bag.import_errors == {} and set(bag.dags) == set(SHIPPED)


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
    Mutation("has_the_policys_owner_and_tags", TASK, f'{TASK} owner="me",', "train"),
    Mutation("has_the_policys_owner_and_tags", "[*TAGS, ", "[", "baton"),
    Mutation("ends_in_time", "execution_timeout=TRAIN_TIMEOUT", "execution_timeout=None", "train"),
    Mutation("has_an_owner", TASK, f'{TASK} owner="airflow",', "train"),
    Mutation("ends_in_time", "        response_timeout=APPROVAL_TIMEOUT,\n", "", "approve"),
    Mutation("runs_on_its_stages_engine", "        pool=SPARK_POOL,\n", "", "corpus"),
    Mutation("engine_jobs_take_a_slot", "        pool=SPARK_POOL,\n", "", "corpus"),
    Mutation("bounds_its_runs", "catchup=False,", "catchup=True, start_date=__import__('datetime').datetime(2026, 1, 1),", "catchup runs every time"),
    Mutation("runs_on_its_stages_engine", '"promote",', '"promote", pool="ray",', "promote"),
    Mutation("runs_on_its_stages_engine", ON_RAY, IN_THE_WORKER, "predict"),
    Mutation("runs_its_stages", TASK, 'task_id="tune",', "'train'"),
    Mutation("retries_as_the_policy_says", TASK, f"{TASK} retries=9,", "train"),
    Mutation("retries_as_the_policy_says", TASK, f"{TASK} retry_exponential_backoff=0,", "train"),
    Mutation("reports_failures", TASK, f"{TASK} on_failure_callback=None,", "train"),
    Mutation("starts_when_it_says", "    catchup=False,\n", "", "catchup"),
    Mutation("bounds_its_runs", "    max_active_runs=1,\n", "", "max_active_runs"),
    Mutation("starts_when_it_says", "max_active_runs=1", "max_active_runs=16", "16 runs"),
    Mutation("starts_when_it_says", "is_paused_upon_creation=True", "is_paused_upon_creation=False", "starts by itself"),
    Mutation("ends_with_a_report_that_decides_the_run", CLOSED, "", "report"),
    Mutation("ends_with_a_report_that_decides_the_run", CLOSED, "    predict >> report\n", "task plan ends"),
    Mutation("ends_with_a_report_that_decides_the_run", CLOSED, CLOSED + "    report.on_failure_fail_dagrun = False\n", "report"),
    Mutation("ends_with_a_report_that_decides_the_run", CLOSED, CLOSED + LATE, "late"),
    Mutation("leads_to_the_report", "from orchestration.ray import", "from airflow_ray.operator import RayJobOperator as", "train"),
    Mutation("runs_its_stages", "corpus >> train >> evaluate", "train >> corpus >> evaluate", "train does not wait for corpus"),
    Mutation("waits_for_its_plan", "    plan >> corpus", "    corpus", "corpus"),
    Mutation("requests_are_no_templates", '"training.job", RUN_DIR]', '"training.job", "{{ params.source }}"]', "train"),
    Mutation("renders_nothing_as_code", "    catchup=False,", "    catchup=False,\n    render_template_as_native_obj=True,", "rendered"),
    Mutation("parses_without_work", "from airflow.sdk import DAG", "import torch\nfrom airflow.sdk import DAG", "torch"),
    Mutation("keeps_to_orchestration", "from airflow.sdk import DAG", "from airflow.sdk import DAG\nfrom etl.config import CorpusConfig", "etl.config"),
    Mutation("parses_without_work", 'SCHEDULE = "@daily"', 'from datetime import datetime\nDAY = datetime.now()\nSCHEDULE = "@daily"', "datetime.now"),
    Mutation("parses_without_work", '"demo"', 'Variable.get("preset")', "Variable.get"),
    Mutation("parses_without_work", '"demo"', 'os.environ["PRESET"]', "environ"),
    Mutation("parses_without_work", '"demo"', 'BaseHook.get_connection("x").host', "get_connection"),
    Mutation("parses_without_work", '"demo"', 'open("preset").read()', "open"),
    Mutation("parses_without_work", '"2g"', 'requests.get(f"{URL}/memory").text', "requests.get"),
    Mutation("keeps_to_orchestration", "# --\n\nwith", "# --\nif True:\n    pass\n\nwith", "If at the top"),
]  # fmt: skip


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: f"{m.rule}-{MUTATIONS.index(m)}")
def test_a_broken_dag_is_reported(mutation: Mutation, tmp_path: Path) -> None:
    whole = (DAGS / "spark_to_ray.py").read_text()
    assert whole.count(mutation.old) >= 1, "this mutation changes nothing: bring it up to date with the DAG"
    path = tmp_path / "spark_to_ray.py"
    path.write_text(whole.replace(mutation.old, mutation.new, 1))
    findings = [f for f in check([path]).findings if f.rule == mutation.rule.replace("_", "-")]
    assert findings, f"{mutation.rule} did not notice"
    assert any(mutation.says in f.message for f in findings), findings
    assert all(f.remedy and 1 < f.line <= len(path.read_text().splitlines()) for f in findings), findings


HIDDEN = """from airflow.sdk import DAG, task
from orchestration.policy import DEFAULT_ARGS

with DAG("own", max_active_runs=1, default_args=DEFAULT_ARGS):
    @task
    def work() -> None: ...

    @task(trigger_rule="RULE")
    def after() -> None: ...

    @task
    def last() -> None: ...

    work() >> after() >> last()
"""


@pytest.mark.parametrize("rule", ["all_done", "always", "one_done", "one_failed", "none_failed", "all_success"])
def test_a_task_that_hides_a_failure_is_noticed(rule: str, tmp_path: Path) -> None:
    """Of a DAG whose tasks do not end in the project's report, which looks at all of them."""
    path = tmp_path / "own.py"
    path.write_text(HIDDEN.replace("RULE", rule))
    found = [finding for finding in check([path]).findings if finding.rule == "failures-end-the-run-as-failed"]
    assert [finding.line for finding in found] == ([5] if rule not in ("none_failed", "all_success") else []), found
    assert all("task work failed: after runs in spite of it" in finding.message for finding in found)


def test_every_rule_has_a_dag_that_breaks_it() -> None:
    broken = {mutation.rule for mutation in MUTATIONS} | {"failures_end_the_run_as_failed"}
    assert broken == {rule.__name__ for rule in (*SAFETY_RULES, *PRODUCT_RULES)}


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_shipped_dag_file_stays_short(name: str) -> None:
    """A DAG file reads as the flow: constants, operators, one line of arrows. What else there is goes elsewhere."""
    file = load(DAGS / f"{name}.py")
    assert len(file.path.read_text().splitlines()) - (file.tree.body[0].end_lineno or 0) <= 120
