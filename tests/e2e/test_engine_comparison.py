"""The DAG engine_comparison in a real Airflow: from its form to the page behind the Report link."""

from comparison.registry import stage
from comparison.results import read_results
from handoff.stages import flow
from tests.e2e.conftest import Baton

DAG_ID = "engine_comparison"
SMALL = {"stages": ["clean"], "engines": ["polars"], "sizes_mb": [0.5], "processes": 1, "warm_runs": 1}


def test_a_run_measures_and_leaves_a_page(baton: Baton) -> None:
    with baton.unpaused(DAG_ID) as api:
        api.trigger(DAG_ID, "small", SMALL)
        baton.wait(DAG_ID, "small", state={"success"}, seconds=180)
    run = baton.directory(DAG_ID, "small")
    assert [(r.stage, r.status) for r in run.records()] == [(s, "success") for s in flow("comparison")]
    found = read_results(run.artifact("compare", digests=True))
    assert {(m.stage, m.engine, m.phase) for m in found} == {("clean", "polars", p) for p in ("start", "first", "warm")}
    links = api._call("GET", f"/api/v2/dags/{DAG_ID}/dagRuns/small/taskInstances/report/links")
    page = api._client.get(links["extra_links"]["Report"])
    assert page.status_code == 200 and page.text.encode() == run.read("report.html")
    assert stage("clean").title in page.text


def test_a_misspelt_stage_is_refused_by_the_plan_and_the_nearest_is_named(baton: Baton) -> None:
    with baton.unpaused(DAG_ID) as api:
        api.trigger(DAG_ID, "misspelt", SMALL | {"stages": ["jion"]})
        baton.wait(DAG_ID, "misspelt", state={"failed"}, seconds=120)
        assert "Did you mean 'join'" in api.task_log(DAG_ID, "misspelt", "plan")
        assert api.task_states(DAG_ID, "misspelt")["compare"] == "upstream_failed"
