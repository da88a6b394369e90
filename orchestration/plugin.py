"""Airflow plugin: shows a run's report in the UI, and registers the links."""

from typing import Annotated

from airflow.plugins_manager import AirflowPlugin

from orchestration.links import REPORT_URL, REPORT_URL_PREFIX, ReportLink, SparkUiLink

NO_REPORT = (
    "<!doctype html><meta charset='utf-8'><title>No report</title><p>This run has no report. The task <b>report</b> writes it "
    "last. If <b>plan</b> failed or skipped the run, there is none: the last line of plan's log says why."
)


def report_app() -> "object":
    """A FastAPI app with one page, ``/runs/<dag>/<run id>/report.html``, for users who may read that DAG."""
    from airflow.api_fastapi.core_api.security import requires_access_dag
    from fastapi import Depends, FastAPI, Path
    from fastapi.responses import HTMLResponse

    from handoff.run_dir import RunDir
    from orchestration.paths import run_key, run_uri

    app = FastAPI(title="Baton reports", docs_url=None, redoc_url=None, openapi_url=None)

    Dag = Annotated[str, Path(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,249}$")]
    Run = Annotated[str, Path(pattern=r"^[^/\\\x00-\x1f]{1,250}$")]

    @app.get("/runs/{dag_id}/{run_id}/report.html", dependencies=[Depends(requires_access_dag("GET"))])
    def report(dag_id: Dag, run_id: Run) -> HTMLResponse:
        try:
            page = RunDir(run_uri(dag_id, run_key(run_id))).read("report.html")
        except FileNotFoundError:
            return HTMLResponse(NO_REPORT, 404)
        # The page is self-contained: whatever text of the corpus or model it shows, nothing in it may run or load.
        policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"
        return HTMLResponse(page, headers={"Content-Security-Policy": policy})

    return app


class BatonPlugin(AirflowPlugin):
    name = "baton"
    operator_extra_links = [ReportLink(), SparkUiLink()]  # noqa: RUF012  (the plugin manager reads class attributes)

    external_views = [  # noqa: RUF012
        {"name": "Report", "href": REPORT_URL, "destination": "dag_run", "url_route": "report"}
    ]

    @classmethod
    def on_load(cls, *args: object, **kwargs: object) -> None:
        cls.fastapi_apps = [{"app": report_app(), "url_prefix": REPORT_URL_PREFIX, "name": "Baton reports"}]
