"""The few calls of Airflow's public REST API that a local run needs."""

from collections.abc import Mapping
from typing import Any

import httpx


class AirflowApi:
    """A logged-in client of Airflow's REST API v2.

    Args:
        url: of the API server, such as ``http://127.0.0.1:8080``.
        user: user name.
        password: password of that user.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=60, trust_env=False)
        token = self._call("POST", "/auth/token", json={"username": user, "password": password})["access_token"]
        self._client.headers["Authorization"] = f"Bearer {token}"

    def _call(self, method: str, path: str, **keywords: Any) -> Any:
        answer = self._client.request(method, path, **keywords)
        if answer.is_error:
            raise RuntimeError(f"Airflow refused {method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json()

    def dag(self, dag_id: str) -> dict[str, Any] | None:
        """The DAG, or None until the DAG processor has parsed it."""
        found = self._call("GET", "/api/v2/dags", params={"dag_id_pattern": dag_id, "exclude_stale": False})["dags"]
        return next((d for d in found if d["dag_id"] == dag_id), None)

    def import_errors(self) -> list[str]:
        return [e["stack_trace"] for e in self._call("GET", "/api/v2/importErrors")["import_errors"]]

    def set_paused(self, dag_id: str, paused: bool) -> None:
        self._call("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": paused})

    def trigger(self, dag_id: str, run_id: str, conf: dict[str, Any]) -> None:
        self._call(
            "POST", f"/api/v2/dags/{dag_id}/dagRuns", json={"dag_run_id": run_id, "conf": conf, "logical_date": None}
        )

    def make_pools(self, pools: Mapping[str, tuple[int, str]]) -> None:
        """Make the pools that are missing, each with its slots and description; one that is there stays as it is."""
        known = {pool["name"] for pool in self._call("GET", "/api/v2/pools")["pools"]}
        for name, (slots, description) in pools.items():
            if name not in known:
                pool = {"name": name, "slots": slots, "description": description, "include_deferred": True}
                self._call("POST", "/api/v2/pools", json=pool)

    def run_state(self, dag_id: str, run_id: str) -> str:
        return self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"]

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        return self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        return {t["task_id"]: t["state"] for t in self.task_instances(dag_id, run_id)}

    def task_log(self, dag_id: str, run_id: str, task_id: str, attempt: int = 1) -> str:
        """A task's log, a line per event, without the marks of the groups that the UI folds."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}"
        events = self._call("GET", path, headers={"Accept": "application/json"})["content"]
        lines = [str(e.get("event", "")) if isinstance(e, dict) else str(e) for e in events]
        return "\n".join(line for line in lines if not line.startswith(("::group::", "::endgroup::")))
