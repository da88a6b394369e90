"""A connection that is incomplete or unsafe is refused with its remedy, before anything is sent."""

import json
from typing import Any

import pytest
from airflow.sdk import Connection

from airflow_ray.cluster import Cluster
from airflow_ray.provider import get_provider_info


def connection(**settings: Any) -> Connection:
    if "extra" in settings:
        settings["extra"] = json.dumps(settings["extra"])
    return Connection(**{"conn_id": "ray_x", "conn_type": "ray", "host": "127.0.0.1", **settings})


def test_loopback_needs_neither_tls_nor_token() -> None:
    for host in ("127.0.0.1", "127.8.8.8", "localhost", "::1"):
        assert Cluster.from_connection(connection(host=host)).token is None


@pytest.mark.parametrize(
    ("settings", "lacks"),
    [
        ({}, "without https and without a token"),
        ({"password": "secret-token"}, "without https:"),
        ({"schema": "https"}, "without a token:"),
    ],
)
def test_a_remote_cluster_without_tls_or_token_is_refused(settings: dict[str, Any], lacks: str) -> None:
    with pytest.raises(ValueError, match=r"ray_x would send jobs to ray\.example\.com") as caught:
        Cluster.from_connection(connection(host="ray.example.com", **settings))
    assert lacks in str(caught.value) and "Remedy" in str(caught.value)
    assert "secret-token" not in str(caught.value)


def test_what_a_trusted_network_allows() -> None:
    allowed = Cluster.from_connection(connection(host="ray.example.com", extra={"allow_insecure": True}))
    assert allowed.url == "http://ray.example.com:8265"


def test_a_safe_remote_cluster() -> None:
    found = Cluster.from_connection(
        connection(
            host="ray.example.com",
            schema="https",
            port=443,
            password="secret-token",
            extra={"verify": "/etc/ca.pem", "dashboard_url": "https://ray.people.example.com/", "namespace": "prod"},
        )
    )
    assert (found.url, found.verify, found.namespace) == ("https://ray.example.com:443", "/etc/ca.pem", "prod")
    assert found.job_url("a b") == "https://ray.people.example.com/#/jobs/a%20b"
    assert "secret-token" not in repr(found)


def test_a_link_has_an_address_that_a_browser_can_resolve_or_there_is_none() -> None:
    inside = {"allow_insecure": True}
    assert Cluster.from_connection(connection(host="ray-head", extra=inside)).job_url("a") == ""
    shown = Cluster.from_connection(connection(host="ray-head", extra={**inside, "dashboard_url": "http://ray.lan/"}))
    assert shown.job_url("a") == "http://ray.lan/#/jobs/a"
    assert Cluster.from_connection(connection()).job_url("a") == "http://127.0.0.1:8265/#/jobs/a"


@pytest.mark.parametrize("runtime_env", ['{"env_vars": {"A": "1"}}', {"env_vars": {"A": "1"}}])
def test_a_runtime_environment_comes_as_text_of_the_form_or_as_json(runtime_env: Any) -> None:
    found = Cluster.from_connection(connection(extra={"runtime_env": runtime_env}))
    assert found.runtime_env == {"env_vars": {"A": "1"}}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"host": None}, "names no host"),
        ({"schema": "ftp"}, "Remedy: http or https"),
        ({"extra": {"runtime_env": "{"}}, "runtime_env is no JSON"),
        ({"extra": {"runtime_env": "[1]"}}, "runtime_env is no JSON object"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Cluster.from_connection(connection(**settings))


def test_airflow_takes_the_form_and_the_link_from_the_installed_provider() -> None:
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    assert manager.hooks["ray"].hook_name == "Ray"  # type: ignore[union-attr]
    fields = {f"extra__ray__{name}" for name in get_provider_info()["connection-types"][0]["conn-fields"]}
    assert fields <= set(manager.connection_form_widgets)
    assert manager.field_behaviours["ray"]["relabeling"]["password"] == "Token"
    assert "airflow_ray.links.RayJobLink" in manager.extra_links_class_names
