"""Airflow plugin: shows a run's report in the UI, and registers the links."""

from typing import Annotated

from airflow.plugins_manager import AirflowPlugin

from orchestration.links import REPORT_URL_PREFIX, ReportLink, SparkUiLink


def report_app() -> "object":
    """A FastAPI app with one page, ``/runs/<dag>/<run key>/report.html``, for users who may read that DAG."""
    from airflow.api_fastapi.core_api.security import requires_access_dag
    from fastapi import Depends, FastAPI, HTTPException, Path
    from fastapi.responses import HTMLResponse

    from handoff.run_dir import RunDir
    from orchestration.paths import run_uri

    app = FastAPI(title="Baton reports", docs_url=None, redoc_url=None, openapi_url=None)

    Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,140}$")]

    @app.get("/runs/{dag_id}/{key}/report.html", dependencies=[Depends(requires_access_dag("GET"))])
    def report(dag_id: Name, key: Name) -> HTMLResponse:
        try:
            page = RunDir(run_uri(dag_id, key)).read("report.html")
        except FileNotFoundError:
            raise HTTPException(404, f"run {key} has no report yet: the report task writes it last") from None
        # The page is self-contained: whatever text of the corpus or model it shows, nothing in it may run or load.
        policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"
        return HTMLResponse(page, headers={"Content-Security-Policy": policy})

    return app


class BatonPlugin(AirflowPlugin):
    name = "baton"
    operator_extra_links = [ReportLink(), SparkUiLink()]  # noqa: RUF012  (the plugin manager reads class attributes)

    @classmethod
    def on_load(cls, *args: object, **kwargs: object) -> None:
        cls.fastapi_apps = [{"app": report_app(), "url_prefix": REPORT_URL_PREFIX, "name": "Baton reports"}]
